import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Denial } from '../decision/denial.ts'
import { type Identity, type Leases, parseBasic } from '../leases/leases.ts'
import { headerValues } from '../request/head.ts'
import type { Asked } from './asked.ts'
import type { Denier } from './deny.ts'

/**
 * The address that a connection comes from; null when that is this machine, through the proxy's socket, and undefined
 * when it has been reset already, which is forgotten with it.
 */
export type CameFrom = (socket: Socket) => string | null | undefined

/** Who asks the proxy itself: a sandbox by its lease, or whoever shows no good one. */
export type Caller =
  | { ok: true; identity: Identity }
  | { ok: false; why: 'unnamed' | 'stranger' | 'unavailable' }
  | { ok: false; why: 'elsewhere'; identity: Identity }

/** Undefined when whoever shows a good lease has gone: there is nobody to answer, and no place to hold against it. */
export async function identifyCaller(
  req: IncomingMessage,
  deps: { leases: Leases; cameFrom: CameFrom },
): Promise<Caller | undefined> {
  // Before anything else: a socket that is closed meanwhile forgets its address.
  const from = deps.cameFrom(req.socket)
  const presented = headerValues(req.rawHeaders, 'proxy-authorization')
  if (presented.length === 0) return { ok: false, why: 'unnamed' }
  if (presented.length > 1) return { ok: false, why: 'stranger' }
  try {
    const identity = await deps.leases.identify(presented[0])
    if (identity === undefined) return { ok: false, why: 'stranger' }
    if (from === identity.sourceAddress) return { ok: true, identity }
    return from === undefined ? undefined : { ok: false, why: 'elsewhere', identity }
  } catch {
    return { ok: false, why: 'unavailable' }
  }
}

/**
 * What a caller without a good lease is answered. A lease that is wrong or out of its place is recorded. None at all is
 * only counted: programs such as git ask once without and name themselves when they are told to.
 */
export function refuseCaller(
  req: IncomingMessage,
  asked: Asked,
  caller: Extract<Caller, { ok: false }>,
  denier: Denier,
): Denial {
  if (caller.why === 'unavailable') return denier.denyUnrecorded('leases_unavailable')
  if (caller.why === 'unnamed') return denier.denyUnrecorded('lease_missing')
  if (caller.why === 'elsewhere') return denier.deny(caller.identity, asked, 'lease_elsewhere', 'lease')
  const presented = parseBasic(headerValues(req.rawHeaders, 'proxy-authorization')[0])
  return denier.denyStranger(asked, presented?.sourceId ?? '')
}

/** Connections to the proxy's socket on its machine. */
export const fromMachine: CameFrom = () => null

/** Connections over TCP; a listener for both families writes IPv4 as `::ffff:1.2.3.4`. */
export const fromNetwork: CameFrom = (socket) => socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '')
