import { Readable } from 'node:stream'
import type { Identity } from '../leases/leases.ts'
import type { Tuple } from '../request/tuple.ts'
import type { Signer } from '../secrets/sign/signer.ts'
import type { BodyHold, HeldBody, HoldFailure } from './held.ts'
import type { Inbound } from './inbound.ts'
import { authorityOf } from './upstream.ts'

/** How a request is signed as it leaves. */
export interface Signing {
  /** What to send in place of the caller's body, when that was held back. */
  content: Inbound['content']
  /** The fields to send, signed now. */
  sign(headers: readonly string[], nowMs: number): string[]
}

/** Holds the body back if the signature takes the whole of it; undefined if it can pass as it comes. */
export async function holdForSigning(
  hold: BodyHold,
  signer: Signer,
  inbound: Inbound,
  tuple: Tuple,
  identity: Identity,
): Promise<HeldBody | undefined | HoldFailure | 'signing_refused'> {
  const plan = signer.plan({ query: tuple.query, rawHeaders: inbound.rawHeaders })
  if (plan === undefined) return 'signing_refused'
  if (plan.holdBytes === undefined || inbound.content === undefined) return undefined
  return await hold.hold(inbound, plan.holdBytes, identity.principalId)
}

/** Undefined when the request asks for what the rule does not allow. */
export function signingOf(
  signer: Signer | undefined,
  held: HeldBody | undefined,
  inbound: Inbound,
  tuple: Tuple,
): Signing | undefined {
  const { method, path, query } = tuple
  const plan = signer?.plan({ query, rawHeaders: inbound.rawHeaders })
  if (
    plan === undefined ||
    (plan.holdBytes !== undefined && inbound.content !== undefined && held === undefined)
  ) {
    return undefined
  }
  const body = held?.bytes ?? Buffer.alloc(0)
  const request = { method, path, query, host: authorityOf(tuple) }
  return {
    content:
      held === undefined
        ? undefined
        : { body: Readable.from([body], { objectMode: false }), length: body.length },
    sign: (headers, nowMs) => plan.sign({ ...request, headers }, body, nowMs),
  }
}
