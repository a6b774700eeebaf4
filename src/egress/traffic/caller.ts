import type { IncomingMessage } from 'node:http'
import type { Log } from '../../core/index.ts'
import type { Denial } from '../decision/denial.ts'
import { type Identity, type Leases, parseBasic } from '../leases/leases.ts'
import { headerValues } from '../request/head.ts'
import type { Asked, Denier } from './deny.ts'
import { unavailable } from './server.ts'

/** Who asks the proxy itself: a sandbox by its lease, or whoever shows no good one. */
export type Caller = { ok: true; identity: Identity } | { ok: false; why: 'stranger' | 'unavailable' }

export async function identifyCaller(
  req: IncomingMessage,
  deps: { leases: Leases; log: Log },
): Promise<Caller> {
  const presented = headerValues(req.rawHeaders, 'proxy-authorization')
  if (presented.length > 1) return { ok: false, why: 'stranger' }
  try {
    const identity = await deps.leases.identify(presented[0])
    return identity === undefined ? { ok: false, why: 'stranger' } : { ok: true, identity }
  } catch (err) {
    deps.log.warn({ err }, 'a lease could not be checked')
    return { ok: false, why: 'unavailable' }
  }
}

/** What a caller without a good lease is answered; a stranger is recorded. */
export function refuseCaller(
  req: IncomingMessage,
  asked: Asked,
  why: 'stranger' | 'unavailable',
  denier: Denier,
): Denial {
  if (why === 'unavailable') return unavailable('')
  const presented = parseBasic(headerValues(req.rawHeaders, 'proxy-authorization')[0])
  return denier.denyStranger(asked, presented?.sourceId ?? '')
}
