/** HTTP/1.1 over TLS by hand: as little work as can be, so that the driver is never the bottleneck. */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'

/** Where requests go, and by which way; without a proxy the driver adds the credential itself. */
export interface Target {
  /** A TCP port of loopback, or the path of a socket. */
  proxy?: number | string
  /** Values of `Proxy-Authorization`, used in turn. */
  identities?: string[]
  ca: string
  host: string
  port: number
  credential?: string
}

const contexts = new Map<string, SecureContext>()
let turn = 0

function contextOf(ca: string): SecureContext {
  const context = contexts.get(ca) ?? createSecureContext({ ca })
  contexts.set(ca, context)
  return context
}

/** A TCP connection to the proxy, or to the upstream itself. */
export async function dial(target: Target): Promise<Socket> {
  const { proxy } = target
  const socket =
    typeof proxy === 'string'
      ? connectTcp(proxy)
      : connectTcp({
          port: proxy ?? target.port,
          host: '127.0.0.1',
          // mockttp takes a connection whose address and port are those of one of its own to an upstream for a loop.
          localAddress: '127.0.0.2',
          noDelay: true,
        })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  return socket
}

/** The proxy's answer to CONNECT: its status line. */
export async function askForTunnel(socket: Socket, target: Target): Promise<string> {
  const authority = `${target.host}:${target.port}`
  const identities = target.identities ?? []
  const identity = identities[turn++ % Math.max(1, identities.length)]
  const named = identity === undefined ? '' : `Proxy-Authorization: ${identity}\r\n`
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${named}\r\n`)
  return await new Promise((resolve, reject) => {
    let got = ''
    const read = (chunk: Buffer) => {
      got += chunk.toString('latin1')
      if (!got.includes('\r\n\r\n')) return
      leave()
      resolve(got.slice(0, got.indexOf('\r\n')))
    }
    const closed = () => {
      leave()
      reject(new Error(`the proxy closed before its answer to CONNECT: ${got}`))
    }
    const leave = () => {
      socket.off('data', read)
      socket.off('close', closed)
      socket.off('error', closed)
      socket.pause()
    }
    socket.on('data', read)
    socket.once('close', closed)
    socket.once('error', closed)
  })
}

/** A TLS connection to the upstream, through the proxy where there is one. Throws when the proxy refuses. */
export async function open(target: Target, servername = target.host): Promise<TLSSocket> {
  const socket = await dial(target)
  if (target.proxy !== undefined) {
    const status = await askForTunnel(socket, target)
    if (!status.startsWith('HTTP/1.1 200')) {
      socket.destroy()
      throw new Error(status)
    }
  }
  return await secure(socket, target.ca, servername)
}

/** `isLax`: takes any certificate, for what is tried and not measured. */
export async function secure(
  socket: Socket,
  ca: string,
  servername: string,
  isLax = false,
): Promise<TLSSocket> {
  const tls = connectTls({
    socket,
    host: servername,
    servername: isIP(servername) === 0 ? servername : '',
    secureContext: contextOf(ca),
    rejectUnauthorized: !isLax,
    ALPNProtocols: ['http/1.1'],
  })
  await new Promise<void>((resolve, reject) => {
    tls.once('secureConnect', resolve)
    tls.once('error', reject)
    tls.once('close', () => reject(new Error('closed in the handshake')))
  })
  tls.removeAllListeners('error')
  return tls
}

export function head(target: Target, path: string, method = 'GET', more = ''): string {
  const own = target.credential === undefined ? '' : `Authorization: ${target.credential}\r\n`
  return `${method} ${path} HTTP/1.1\r\nHost: ${target.host}:${target.port}\r\nAccept: */*\r\n${own}${more}\r\n`
}

export interface Answer {
  status: number
  body: Buffer
  /** Where the next answer begins. */
  end: number
}

/** The answer at the beginning of `bytes`, or nothing while it is not whole. */
export function readAnswer(bytes: Buffer): Answer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const text = bytes.toString('latin1', 0, headEnd)
  const status = Number(text.slice(9, 12))
  const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1]
  const start = headEnd + 4
  if (length !== undefined) {
    const end = start + Number(length)
    return bytes.length < end ? undefined : { status, body: bytes.subarray(start, end), end }
  }
  if (/\r\ntransfer-encoding: *chunked/i.test(text)) return readChunked(bytes, start, status)
  return { status, body: bytes.subarray(start, start), end: start }
}

function readChunked(bytes: Buffer, start: number, status: number): Answer | undefined {
  const parts: Buffer[] = []
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    const next = lineEnd + 2 + size + 2
    if (bytes.length < next) return undefined
    if (size === 0) {
      const [only] = parts
      return {
        status,
        body: parts.length === 1 && only !== undefined ? only : Buffer.concat(parts),
        end: next,
      }
    }
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = next
  }
}
