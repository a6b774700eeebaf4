import type { Log } from '../../core/index.ts'
import type { LoopShare } from '../bounds/loop-share.ts'
import type { Rounds } from '../bounds/rounds.ts'
import type { Identity, Leases } from '../leases/leases.ts'
import type { EgressLimits } from '../types.ts'
import { answerDenial } from './answer-denial.ts'
import { askedRaw } from './asked.ts'
import type { Denier } from './deny.ts'
import type { Exchange } from './exchange.ts'
import type { Tunnel } from './tunnel.ts'

export interface InnerDeps {
  leases: Leases
  denier: Denier
  exchange: (exchange: Exchange) => Promise<void>
  share: LoopShare
  rounds: Rounds
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
  handle(deps, tunnel, { inbound, canonical })
    .catch((err: unknown) => {
      deps.log.error({ err }, 'egress request failed')
      tunnel.end()
    })
    .finally(() => tunnel.ended())
}

async function handle(
  deps: InnerDeps,
  tunnel: Tunnel,
  { inbound, canonical }: Pick<Exchange, 'inbound' | 'canonical'>,
): Promise<void> {
  // The parser tells of a head before it has read on: a body that is here already shall be whole.
  await Promise.resolve()
  let identity: Identity | undefined
  try {
    const current = deps.leases.current(tunnel.identity.secretSha256)
    identity = current instanceof Promise ? await current : current
  } catch {
    const denial = deps.denier.denyUnrecorded('leases_unavailable', tunnel.identity.sourceId)
    return answerDenial(inbound, denial, askedRaw(inbound, 'https'))
  }
  if (identity === undefined) return tunnel.end()
  await deps.exchange({ inbound, identity, canonical, scheme: 'https' })
}
