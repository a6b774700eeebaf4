import type { AddressClass, EgressRule } from '../../catalog/index.ts'
import type { LeaseFacts } from '../../store/index.ts'
import type { Tuple } from '../request/tuple.ts'
import type { Arms } from '../secrets/arrange.ts'
import type { Armed, Credentials } from '../secrets/credentials.ts'
import type { DecisionReason } from './decide.ts'
import type { DenialReason } from './denial.ts'
import type { Guard } from './guard.ts'
import { type RulesAt, rulesOf } from './rules.ts'
import { decideRequest } from './warn.ts'

/** Everything that was decided about a request before anything is dialled. */
export type Verdict =
  | { allow: false; reason: DenialReason; rule: string }
  | {
      allow: true
      rule: string
      matched: EgressRule
      version: number
      /** Why it would have been refused, were its source not in warn mode. */
      wouldDeny: DecisionReason | undefined
      addresses: string[]
      addressClass: AddressClass | 'public'
      arms: Arms
      /** The same as they are by then, once that was long ago. */
      arm: () => Armed | Promise<Armed>
    }

/** Decides, opens what is to be injected, and judges where the host leads, in that order; nothing is sent. */
export function createJudge(options: {
  rulesAt: RulesAt
  credentials: Credentials
  guard: Guard
  now: () => number
}): (tuple: Tuple, identity: LeaseFacts) => Promise<Verdict> {
  return async (tuple, identity) => {
    // What is known already is not waited for: every turn of the loop given away is one more for each request.
    const found = options.rulesAt(identity.catalogVersion)
    const book = found instanceof Promise ? await found : found
    const known = rulesOf(book, identity.sourceId, options.now())
    const decision = decideRequest(tuple, known)
    if (!decision.allow) return { allow: false, reason: decision.reason, rule: decision.rule }
    const { rule, matched } = decision

    const minted = book.minted.get(identity.sourceId) ?? {}
    const arm = () => options.credentials.arm(matched, known.rules, minted, identity.principalId)
    const arming = arm()
    const armed = arming instanceof Promise ? await arming : arming
    if (!armed.ok) return { allow: false, reason: armed.reason, rule: `${rule} ${armed.credential}` }
    const checking = options.guard.check(tuple, matched, identity.principalId)
    const guarded = checking instanceof Promise ? await checking : checking
    if (!guarded.ok)
      return { allow: false, reason: guarded.reason, rule: guarded.by === 'limit' ? 'limit' : rule }
    return {
      allow: true,
      rule,
      matched,
      version: book.version,
      wouldDeny: decision.wouldDeny,
      addresses: guarded.addresses,
      addressClass: guarded.addressClass,
      arms: armed.arms,
      arm,
    }
  }
}
