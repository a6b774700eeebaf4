import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { Log } from '../../core/index.ts'
import type { Leases } from '../leases/leases.ts'
import { tunnelTarget } from '../request/tuple.ts'
import type { EgressLimits } from '../types.ts'
import { answerDenial, askedRaw, type Denier } from './deny.ts'
import type { Exchange } from './exchange.ts'
import { Http1Inbound, headOf } from './inbound-http1.ts'
import { makeServer, refuseBytes, saidBy, unavailable } from './server.ts'
import { createTunnelTable, type Tunnel } from './tunnel.ts'

/** What serves the decrypted side of every tunnel; it never listens. */
export interface Inner {
  serve(secured: TLSSocket, tunnel: Tunnel): void
}

export interface InnerDeps {
  leases: Leases
  denier: Denier
  exchange: (exchange: Exchange) => Promise<void>
  limits: EgressLimits
  log: Log
}

export function createInner(deps: InnerDeps): Inner {
  const table = createTunnelTable()
  const server = makeInnerServer(deps, table)
  return {
    serve(secured, tunnel) {
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

/** Has one request of a tunnel handled under the lease as it is now; without one the tunnel ends. */
export function serveRequest(
  deps: InnerDeps,
  tunnel: Tunnel,
  { inbound, canonical }: Pick<Exchange, 'inbound' | 'canonical'>,
): void {
  tunnel.began()
  deps.leases
    .current(tunnel.identity.secretSha256)
    .then(
      async (identity) => {
        if (identity === undefined) return tunnel.end()
        await deps.exchange({ inbound, identity, canonical, scheme: 'https' })
      },
      () => answerDenial(inbound, unavailable(tunnel.identity.sourceId), askedRaw(inbound, 'https')),
    )
    .catch((err: unknown) => {
      deps.log.error({ err }, 'egress request failed')
      tunnel.end()
    })
    .finally(() => tunnel.ended())
}
