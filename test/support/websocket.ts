/** Real WebSockets, through the proxy and behind it: the `ws` package on both sides. */
import type { IncomingHttpHeaders } from 'node:http'
import { createServer } from 'node:https'
import type { SecureContext, TLSSocket } from 'node:tls'
import { type ServerOptions, WebSocket, WebSocketServer } from 'ws'
import type { World } from './egress-world.ts'
import { byServerName, listenLocally } from './listening.ts'

export interface WebSocketUpstream extends AsyncDisposable {
  port: number
  /** The fields of every handshake that arrived. */
  seen: IncomingHttpHeaders[]
  sockets: WebSocket[]
}

/** A server that shows a certificate for whatever name it is asked for, and answers requests that open nothing too. */
export async function startWebSocketUpstream(
  contextFor: (host: string) => Promise<SecureContext>,
  handle: (socket: WebSocket, headers: IncomingHttpHeaders) => void,
  options: ServerOptions = {},
): Promise<WebSocketUpstream> {
  const seen: IncomingHttpHeaders[] = []
  const sockets: WebSocket[] = []
  const server = createServer(byServerName(contextFor), (_req, res) => res.end('plain'))
  const webSockets = new WebSocketServer({ server, ...options })
  webSockets.on('connection', (socket, req) => {
    socket.on('error', () => undefined)
    seen.push(req.headers)
    sockets.push(socket)
    handle(socket, req.headers)
  })
  const port = await listenLocally(server)
  return {
    port,
    seen,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.terminate()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** How an attempt to open one went. */
export type Opened = { socket: WebSocket; answer: IncomingHttpHeaders } | { status: number; body: string }

/** Opens a WebSocket in a tunnel of its own; resolves with the answer in its place where there is none. */
export async function openWebSocket(
  world: World,
  at: { host: string; port: number; path?: string; protocols?: string[]; lease?: string; over?: TLSSocket },
): Promise<Opened> {
  const tunnel =
    at.over ?? (await world.tunnel(at.host, at.port, at.lease === undefined ? {} : { lease: at.lease }))
  const socket = new WebSocket(`wss://${at.host}:${at.port}${at.path ?? '/live'}`, at.protocols ?? [], {
    createConnection: () => tunnel,
  })
  let answer: IncomingHttpHeaders = {}
  socket.on('upgrade', (res) => {
    answer = res.headers
  })
  return await new Promise((resolve, reject) => {
    socket.once('open', () => {
      socket.on('error', () => undefined)
      resolve({ socket, answer })
    })
    socket.once('error', reject)
    socket.once('unexpected-response', (_req, res) => {
      let body = ''
      res.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body }))
    })
  })
}

/** The open socket, or a failed test. */
export async function mustOpen(
  ...asked: Parameters<typeof openWebSocket>
): Promise<{ socket: WebSocket; answer: IncomingHttpHeaders; messages: string[]; closed: Promise<number> }> {
  const opened = await openWebSocket(...asked)
  if ('status' in opened) throw new Error(`answered ${opened.status}: ${opened.body}`)
  const { socket } = opened
  const messages: string[] = []
  socket.on('message', (data: Buffer) => messages.push(data.toString('latin1')))
  return { ...opened, messages, closed: new Promise((resolve) => socket.once('close', resolve)) }
}
