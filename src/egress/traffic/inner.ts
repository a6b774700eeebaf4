import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Http1Inbound, headOf } from '../inbound/http1.ts'
import { SwitchingInbound } from '../inbound/switching.ts'
import { tunnelTarget } from '../request/tuple.ts'
import { webSocketTarget } from '../request/websocket.ts'
import { askedRaw } from './deny.ts'
import { serveHttp2 } from './inner-http2.ts'
import { type InnerDeps, serveRequest } from './inner-request.ts'
import { makeServer, refuseBytes, saidBy } from './server.ts'
import { createTunnelTable, type Tunnel } from './tunnel.ts'

/** What serves the decrypted side of every tunnel; it never listens. */
export interface Inner {
  serve(secured: TLSSocket, tunnel: Tunnel): void
}

export function createInner(deps: InnerDeps): Inner {
  const table = createTunnelTable()
  const server = makeInnerServer(deps, table)
  return {
    serve(secured, tunnel) {
      if (secured.alpnProtocol === 'h2') return serveHttp2(deps, tunnel, secured)
      table.set(secured, tunnel)
      server.emit('connection', secured)
    },
  }
}

function makeInnerServer(deps: InnerDeps, table: ReturnType<typeof createTunnelTable>): Server {
  const server = makeServer(deps.limits)
  const handle = (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean) => {
    const tunnel = table.get(req.socket)
    if (tunnel === undefined) {
      req.socket.destroy()
      return
    }
    serveRequest(deps, tunnel, {
      inbound: new Http1Inbound(req, res, expectsContinue),
      canonical: tunnelTarget(headOf(req), tunnel.destination),
    })
  }
  server.on('request', (req, res) => handle(req, res, false))
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => handle(req, res, true))
  // Node would answer it itself, and nobody would hear of it.
  server.on('checkExpectation', (req: IncomingMessage, res: ServerResponse) => handle(req, res, false))
  server.on('upgrade', (req: IncomingMessage, stream, early: Buffer) => {
    const tunnel = table.get(req.socket)
    if (tunnel === undefined) {
      stream.destroy()
      return
    }
    const asked = webSocketTarget(headOf(req), tunnel.destination)
    // Frames before the answer are what a request hides in that its server takes for the next.
    const canonical =
      asked.ok && early.length > 0 ? ({ ok: false, reason: 'websocket_malformed' } as const) : asked
    const handshake = canonical.ok ? canonical.handshake : undefined
    serveRequest(deps, tunnel, {
      inbound: new SwitchingInbound(req, stream as Socket, handshake),
      canonical,
    })
  })
  server.on('connect', (req, socket) => {
    const tunnel = table.get(req.socket)
    if (tunnel !== undefined)
      deps.denier.deny(tunnel.identity, askedRaw(saidBy(req), 'https'), 'connect_in_tunnel', 'request')
    socket.destroy()
  })
  server.on('clientError', (_error, socket) => {
    const tunnel = table.get(socket)
    if (tunnel !== undefined) {
      const asked = { scheme: 'https', ...tunnel.destination, method: '', path: '' }
      deps.denier.deny(tunnel.identity, asked, 'parse_error', 'request')
    }
    refuseBytes(socket)
  })
  return server
}
