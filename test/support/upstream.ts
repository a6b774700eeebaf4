/**
 * A real HTTP or HTTPS server on loopback that shows a certificate for whatever name it is asked for. It lies in
 * nothing but the name: the certificate comes from the test's own CA.
 */
import {
  createServer as createHttp,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { Socket } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import { byServerName, listenLocally } from './listening.ts'

export interface Upstream extends AsyncDisposable {
  port: number
  /** Every request that arrived, heads only. */
  seen: { method: string; url: string; rawHeaders: string[]; body: string; servername: string }[]
  /** Takes over the connection of every request that asks to change the protocol. */
  onUpgrade(handle: (socket: Socket, req: IncomingMessage, head: Buffer) => void): void
}

export async function startUpstream(
  handle: RequestListener,
  scheme: 'http' | 'https',
  contextFor: (host: string) => Promise<SecureContext>,
): Promise<Upstream> {
  const seen: Upstream['seen'] = []
  const listener = (req: IncomingMessage, res: ServerResponse) => {
    const entry = {
      method: req.method ?? '',
      url: req.url ?? '',
      rawHeaders: req.rawHeaders,
      body: '',
      servername: String((req.socket as TLSSocket).servername ?? ''),
    }
    seen.push(entry)
    req.on('data', (chunk: Buffer) => {
      entry.body += chunk.toString('latin1')
    })
    handle(req, res)
  }
  const server = scheme === 'http' ? createHttp(listener) : createHttps(byServerName(contextFor), listener)
  const port = await listenLocally(server)
  return {
    port,
    seen,
    onUpgrade(take) {
      server.on('upgrade', (req, socket, head) => {
        socket.on('error', () => undefined)
        take(socket as Socket, req, head)
      })
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
