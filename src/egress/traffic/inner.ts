import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { readFairly } from '../bounds/fair-reading.ts'
import { endOwing, hearsMore, inTurn, owesAnswer } from '../inbound/due-answers.ts'
import { Http1Inbound, headOf } from '../inbound/http1.ts'
import { SwitchingInbound } from '../inbound/switching.ts'
import { tunnelTarget } from '../request/tuple.ts'
import { webSocketTarget } from '../request/websocket.ts'
import { askedInTunnel, askedRaw } from './asked.ts'
import { contained } from './contained.ts'
import { serveHttp2 } from './inner-http2.ts'
import { type InnerDeps, serveRequest } from './inner-request.ts'
import { makeServer, notConsumed, refuseBytes, saidBy } from './server.ts'
import type { Tunnel } from './tunnel.ts'

/** What serves the decrypted side of every tunnel; it never listens. */
export interface Inner {
  serve(secured: TLSSocket, tunnel: Tunnel): void
  /** Looks no more for heads that take too long. */
  close(): void
}

/** Which tunnel a decrypted socket belongs to. */
type Tunnels = WeakMap<Duplex, Tunnel>

export function createInner(deps: InnerDeps): Inner {
  const tunnels: Tunnels = new WeakMap()
  const server = makeInnerServer(deps, tunnels)
  return {
    serve: contained(
      deps.log,
      (secured: TLSSocket, tunnel: Tunnel) => {
        if (secured.alpnProtocol === 'h2') return serveHttp2(deps, tunnel, secured)
        readFairly(secured, deps.share.of(tunnel.identity.principalId))
        tunnels.set(secured, tunnel)
        // Node counts a head's time from here on, and until its first byte the tunnel's own holds.
        secured.once(
          'readable',
          contained(
            deps.log,
            () => {
              server.emit('connection', secured)
              notConsumed(secured)
            },
            () => tunnel.end(),
          ),
        )
      },
      (_secured, tunnel) => tunnel.end(),
    ),
    close: () => void server.close(),
  }
}

function makeInnerServer(deps: InnerDeps, tunnels: Tunnels): Server {
  const server = makeServer(deps.limits)
  // From then on Node looks once a second for heads that take too long; this server never listens.
  server.emit('listening')
  const tunnelOf = (socket: Duplex): Tunnel => {
    const tunnel = tunnels.get(socket)
    if (tunnel === undefined) throw new Error('a socket of no tunnel')
    return tunnel
  }
  /** What ends with a listener that fails: the tunnel it is about. */
  const endTunnel = (socket: Duplex) => {
    tunnels.get(socket)?.end()
    socket.destroy()
  }
  const answers = (expectsContinue: boolean) =>
    contained(
      deps.log,
      (req: IncomingMessage, res: ServerResponse) => {
        const tunnel = tunnelOf(req.socket)
        if (!hearsMore(req)) return
        const inbound = new Http1Inbound(req, res, expectsContinue)
        const canonical = tunnelTarget(headOf(req), tunnel.destination)
        inTurn(req.socket, inbound, () => {
          // The tunnel is ending, and an answer has nowhere to go.
          if (!req.socket.writable) return void req.resume()
          serveRequest(deps, tunnel, { inbound, canonical })
        })
      },
      (req) => endTunnel(req.socket),
    )
  server.on('request', answers(false))
  server.on('checkContinue', answers(true))
  // Node would answer it itself, and nobody would hear of it.
  server.on('checkExpectation', answers(false))
  server.on(
    'upgrade',
    contained(
      deps.log,
      (req: IncomingMessage, stream: Duplex, early: Buffer) => {
        // What stands behind the last answer is not heard.
        if (!stream.writable) stream.destroy()
        else serveUpgrade(deps, tunnelOf(req.socket), { req, socket: stream as Socket, early })
      },
      (req) => endTunnel(req.socket),
    ),
  )
  server.on(
    'connect',
    contained(
      deps.log,
      (req: IncomingMessage, socket: Duplex) => {
        deps.denier.deny(
          tunnelOf(req.socket).identity,
          askedRaw(saidBy(req), 'https'),
          'connect_in_tunnel',
          'request',
        )
        endOwing(socket)
      },
      (req) => endTunnel(req.socket),
    ),
  )
  server.on(
    'clientError',
    contained(
      deps.log,
      (error: Error, socket: Duplex) => {
        const reason = refuseBytes(error, socket)
        if (reason === undefined) return
        const { identity, destination } = tunnelOf(socket)
        deps.denier.deny(identity, askedInTunnel(destination), reason, 'request')
      },
      (_error, socket) => endTunnel(socket),
    ),
  )
  return server
}

function serveUpgrade(
  deps: InnerDeps,
  tunnel: Tunnel,
  { req, socket, early }: { req: IncomingMessage; socket: Socket; early: Buffer },
): void {
  const asked = webSocketTarget(headOf(req), tunnel.destination)
  // Frames before the answer are what a request hides in that its server takes for the next.
  const canonical =
    asked.ok && early.length > 0 ? ({ ok: false, reason: 'websocket_malformed' } as const) : asked
  const handshake = canonical.ok ? canonical.handshake : undefined
  if (owesAnswer(socket)) {
    // Its answer would stand in the middle of the other, so there is nothing to say on this connection.
    const reason = canonical.ok ? 'websocket_malformed' : canonical.reason
    deps.denier.deny(tunnel.identity, askedRaw(saidBy(req), 'https'), reason, 'request')
    return endOwing(socket)
  }
  serveRequest(deps, tunnel, { inbound: new SwitchingInbound(req, socket, handshake), canonical })
}
