import type { Log } from '../../core/index.ts'
import type { Leases } from '../leases/leases.ts'
import type { EgressLimits } from '../types.ts'
import { answerDenial, askedRaw, type Denier } from './deny.ts'
import type { Exchange } from './exchange.ts'
import { unavailable } from './server.ts'
import type { Tunnel } from './tunnel.ts'

export interface InnerDeps {
  leases: Leases
  denier: Denier
  exchange: (exchange: Exchange) => Promise<void>
  limits: EgressLimits
  log: Log
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
