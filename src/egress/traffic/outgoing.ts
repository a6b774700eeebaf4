import type { Verdict } from '../decision/judge.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { Identity } from '../leases/leases.ts'
import type { Tuple } from '../request/tuple.ts'
import { wireMethod } from '../request/websocket.ts'
import { type Arranged, arrange, planBody } from '../secrets/arrange.ts'
import type { PlacementRefusal } from '../secrets/slot.ts'
import { authorityOf } from '../upstream/connection.ts'
import type { BodyHold, HeldBody, HoldFailure } from './held.ts'

type Allowing = Extract<Verdict, { allow: true }>

/** The request as it is sent. It holds credentials: what is recorded and shown is the tuple. */
export interface ComposedRequest extends Omit<Arranged, 'headers'> {
  /** The fields to send, signed now where they are. */
  headersAt(nowMs: number): string[]
}

export type Composed =
  | { ok: true; outgoing: ComposedRequest }
  | { ok: false; reason: PlacementRefusal | 'signing_refused'; credential?: string }

/**
 * Holds the body back where a credential is put into it, at most `slotBytes` of it, or where the signature takes the
 * whole of it; undefined if it can pass as it comes.
 */
export function holdForOutgoing(
  hold: BodyHold,
  slotBytes: number,
  { arms }: Allowing,
  inbound: Inbound,
  tuple: Tuple,
  identity: Identity,
): undefined | Extract<Composed, { ok: false }> | Promise<HeldBody | HoldFailure> {
  const plan = planBody({ rawHeaders: inbound.rawHeaders, hasBody: inbound.content !== undefined }, arms)
  if (!plan.ok) return plan
  const signing = arms.signer?.plan({ query: tuple.query, rawHeaders: inbound.rawHeaders })
  if (arms.signer !== undefined && signing === undefined) return { ok: false, reason: 'signing_refused' }
  const limit = plan.form === undefined ? signing?.holdBytes : slotBytes
  if (limit === undefined || inbound.content === undefined) return undefined
  return hold.hold(inbound, limit, identity.principalId)
}

/** Puts every credential in its place and plans the signature over what came of it; nothing has been sent by then. */
export function compose(
  { arms }: Allowing,
  held: HeldBody | undefined,
  inbound: Inbound,
  tuple: Tuple,
): Composed {
  const { rawHeaders, content } = inbound
  const form = planBody({ rawHeaders, hasBody: content !== undefined }, arms)
  if (!form.ok) return form
  // The rules may have changed while a body was on its way.
  if (form.form !== undefined && held === undefined) return { ok: false, reason: 'body_malformed' }
  const asked = { rawHeaders, path: tuple.path, query: tuple.query, authority: authorityOf(tuple) }
  const body = held === undefined ? undefined : { bytes: held.bytes, form: form.form }
  const arrangement = arrange(asked, arms, body)
  if (!arrangement.ok) return arrangement
  const { headers, ...rest } = arrangement.arranged
  if (arms.signer === undefined) return { ok: true, outgoing: { ...rest, headersAt: () => headers } }
  const plan = arms.signer.plan({ query: tuple.query, rawHeaders })
  if (plan === undefined || (plan.holdBytes !== undefined && content !== undefined && held === undefined))
    return { ok: false, reason: 'signing_refused' }
  const request = {
    method: wireMethod(tuple),
    path: rest.path,
    query: rest.query,
    host: asked.authority,
    headers,
  }
  const bytes = rest.body ?? Buffer.alloc(0)
  return { ok: true, outgoing: { ...rest, headersAt: (nowMs) => plan.sign(request, bytes, nowMs) } }
}
