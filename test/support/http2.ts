/**
 * HTTP/2 through the proxy and behind it: Node's own client and server, and frames written by hand for what neither
 * would send.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  createSecureServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import { byServerName, listenLocally } from './listening.ts'

export interface Http2Upstream extends AsyncDisposable {
  port: number
  /** The fields of every request that arrived. */
  seen: IncomingHttpHeaders[]
  sessions: ServerHttp2Session[]
}

/** A real server that agrees on HTTP/2 and shows a certificate for whatever name it is asked for. */
export async function startHttp2Upstream(
  contextFor: (host: string) => Promise<SecureContext>,
  handle: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  settings: Settings = {},
): Promise<Http2Upstream> {
  const seen: IncomingHttpHeaders[] = []
  const sessions: ServerHttp2Session[] = []
  const server = createSecureServer({
    ...byServerName(contextFor),
    strictSingleValueFields: false,
    maxHeaderListPairs: 1_000,
    settings,
  })
  // A connection whose handshake is still under way has no session yet, and would keep the server from closing.
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.on('session', (session) => {
    session.on('error', () => undefined)
    sessions.push(session)
  })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    seen.push(headers)
    handle(stream, headers)
  })
  const port = await listenLocally(server)
  return {
    port,
    seen,
    sessions,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy()
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A client's session on a tunnel on which HTTP/2 was agreed. */
export function http2Client(secured: TLSSocket): ClientHttp2Session {
  if (secured.alpnProtocol !== 'h2') throw new Error(`agreed on ${secured.alpnProtocol}`)
  // Node's types do not know yet that a client may be lenient in what it sends.
  const options = {
    createConnection: () => secured,
    strictSingleValueFields: false,
    maxHeaderListPairs: 1_000,
  }
  const session = connectHttp2('https://tunnel.example.com', options)
  session.on('error', () => undefined)
  return session
}

export interface Answered {
  status: number
  headers: IncomingHttpHeaders
  trailers: IncomingHttpHeaders
  body: string
  /** How the stream was closed; 0 when all went well. */
  code: number
}

/** Everything of one answer, once its stream is closed. */
export function answered(stream: ClientHttp2Stream): Promise<Answered> {
  const got: Answered = { status: 0, headers: {}, trailers: {}, body: '', code: 0 }
  stream.on('response', (headers) => {
    got.status = headers[':status'] ?? 0
    got.headers = headers
  })
  stream.on('trailers', (trailers) => {
    got.trailers = trailers
  })
  stream.on('data', (chunk: Buffer) => {
    got.body += chunk.toString('latin1')
  })
  stream.on('error', () => undefined)
  return new Promise((resolve) => stream.once('close', () => resolve({ ...got, code: stream.rstCode ?? 0 })))
}

/** One request without a body, or with this one. */
export function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string,
): Promise<Answered> {
  const stream = session.request(headers, { endStream: body === undefined })
  if (body !== undefined) stream.end(body)
  return answered(stream)
}

export const frameType = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

/** Flags of a HEADERS frame; END_STREAM of a DATA frame as well. */
export const frameFlag = { endStream: 1, endHeaders: 4, padded: 8 } as const

/** The pseudo-header fields of a request by https. */
export function pseudoHeaders(host: string, port: number, method = 'GET', path = '/'): [string, string][] {
  return [
    [':method', method],
    [':scheme', 'https'],
    [':authority', `${host}:${port}`],
    [':path', path],
  ]
}

/** One frame as RFC 9113 section 4.1 has it. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

export const preface = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(frameType.settings, 0, 0),
])

/** A header block without compression: each field a literal with a new name (RFC 7541 section 6.2.2). */
export function headerBlock(fields: [string, string][]): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value, 'latin1')
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
    const rest = bytes.length - 127
    return Buffer.concat([Buffer.from([127, (rest & 0x7f) | 0x80, rest >> 7]), bytes])
  }
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]))
}

/** A field of 4,000 bytes, and the one byte that stands for it a hundred times more (RFC 7541 sections 6.2.1 and 6.1). */
export const swelling = Buffer.concat([
  Buffer.from([0x40, 3]),
  Buffer.from('x-a'),
  Buffer.from([127, 0xa1, 30]),
  Buffer.alloc(4_000, 'y'),
  Buffer.alloc(100, 0x80 | 62),
])

export interface ReadFrame {
  type: number
  flags: number
  stream: number
  payload: Buffer
}

/** The frames that a peer has sent, as they come; a client's preface is no frame. */
export function readFrames(socket: TLSSocket): ReadFrame[] {
  const frames: ReadFrame[] = []
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    if (frames.length === 0 && rest.toString('latin1', 0, 3) === 'PRI') {
      if (rest.length < 24) return
      rest = rest.subarray(24)
    }
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const length = rest.readUIntBE(0, 3)
      frames.push({
        type: rest[3] ?? 0,
        flags: rest[4] ?? 0,
        stream: rest.readUInt32BE(5) & 0x7f_ff_ff_ff,
        payload: rest.subarray(9, 9 + length),
      })
      rest = rest.subarray(9 + length)
    }
  })
  return frames
}
