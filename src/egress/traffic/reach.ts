import type { DenialReason } from '../decision/denial.ts'
import type { Verdict } from '../decision/judge.ts'
import type { RulesAt } from '../decision/rules.ts'
import { decideRequest } from '../decision/warn.ts'
import type { Elapsed } from '../elapsed.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { Identity, Leases } from '../leases/leases.ts'
import type { Tuple } from '../request/tuple.ts'
import type { Channel } from '../upstream/channel.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { KeptBody } from './kept.ts'
import type { ComposedRequest } from './outgoing.ts'
import { rightsNow, verdictMs } from './rights-now.ts'

/** A request that may go out, with everything that was decided about it. */
export interface AllowedRequest {
  inbound: Inbound
  identity: Identity
  tuple: Tuple
  verdict: Extract<Verdict, { allow: true }>
  outgoing: ComposedRequest
  /** The same with the credentials as they are now, or why it may not go out with them; may reject as `judge` does. */
  armedAgain: () => Promise<ArmedAgain>
  /** Whether all of it is here, so that it can be sent once more if its upstream proves that it did not begin. */
  isHere: () => boolean
  /** It has been sent as often as it may. */
  isLast: boolean
  /** Told of the body as it is sent. */
  kept: KeptBody | undefined
}

export type ArmedAgain =
  | ({ ok: true } & Pick<AllowedRequest, 'verdict' | 'outgoing'>)
  | { ok: false; reason: DenialReason; rule: string }

export interface ReachDeps {
  leases: Pick<Leases, 'current'>
  rulesAt: RulesAt
  upstream: Upstream
  elapsed: Elapsed
  now: () => number
}

/** A connection, and the request as it may go out on it; or why it may not any more. */
export type Reached =
  | { ok: true; channel: Channel; asked: AllowedRequest }
  | { ok: false; reason: DenialReason; rule: string }

/**
 * A connection for what is asked: at once where one is kept. What is withdrawn ends a request that is under way. But a
 * proxy that stood still while it dialled has not heard of it yet, and the connection may stand before it does; and a
 * credential is withdrawn from what is still to be sent. So what was dialled for long is decided again. Rejects where
 * the upstream cannot be reached.
 */
export function reach(deps: ReachDeps, asked: AllowedRequest): Channel | Promise<Reached> {
  const { identity, tuple, verdict, inbound } = asked
  const place = {
    secure: tuple.scheme === 'https',
    host: tuple.host,
    port: tuple.port,
    addresses: verdict.addresses,
    identity: verdict.arms.identity,
    principalId: identity.principalId,
    poolKey: `${identity.principalId} ${identity.leaseId} ${verdict.version} ${verdict.rule}`,
  }
  const channel = deps.upstream.channel(place, inbound.webSocket !== undefined)
  return channel instanceof Promise ? dialled(deps, asked, channel) : channel
}

async function dialled(deps: ReachDeps, asked: AllowedRequest, dialling: Promise<Channel>): Promise<Reached> {
  const since = deps.elapsed()
  const channel = await dialling
  if (deps.elapsed() - since <= verdictMs) return { ok: true, channel, asked }
  const { rule, arms } = asked.verdict
  const now = await decideAgain(deps, asked).catch(
    () => ({ ok: false, reason: 'leases_unavailable', rule }) as const,
  )
  if (now.ok && now.asked.verdict.arms.identity?.id === arms.identity?.id)
    return { ok: true, channel, asked: now.asked }
  channel.release()
  if (!now.ok) return now
  // Its upstream was shown a certificate that has been replaced since.
  const another = reach(deps, now.asked)
  return another instanceof Promise ? await another : { ok: true, channel: another, asked: now.asked }
}

async function decideAgain(
  deps: ReachDeps,
  asked: AllowedRequest,
): Promise<{ ok: true; asked: AllowedRequest } | Extract<Reached, { ok: false }>> {
  // Both at once: the connection is there, and its upstream may not keep it for long.
  const [known, armed] = await Promise.all([rightsNow(deps, asked.identity.secretSha256), asked.armedAgain()])
  if (known === undefined || !decideRequest(asked.tuple, known).allow)
    return { ok: false, reason: 'revoked', rule: asked.verdict.rule }
  if (!armed.ok) return armed
  return { ok: true, asked: { ...asked, verdict: armed.verdict, outgoing: armed.outgoing } }
}
