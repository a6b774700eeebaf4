/**
 * egress: the one way out of a sandbox. Every request is turned into one canonical tuple, decided against the
 * rules of the source that its lease names, guarded against inside addresses, sent once to exactly the address
 * that was judged, and recorded. Credentials are added on https only and never come back in an answer. What is
 * not understood, not named, or not recordable is refused. It follows no redirect and caches no answer.
 */
export { type Elsewhere, elsewhere, type ProposedAs, proposeRule, suggestRules } from './decision/proposal.ts'
export { giveBackMemory } from './economy/garbage.ts'
export { giveBackWhenQuiet } from './economy/quiet.ts'
export { createEgress } from './egress.ts'
export type { RotateOptions } from './keys/changing.ts'
export { keysToStartWith, makeKeysForLost } from './keys/join.ts'
export { generateEgressKeys } from './keys/keys.ts'
export { overviewKeys } from './keys/overview.ts'
export { replaceLostKey, rotateSealingKey } from './keys/rotate.ts'
export { replaceLostCa, rotateCa } from './keys/rotate-ca.ts'
export { selfTest } from './self-test/self-test.ts'
export type { Egress, EgressLimits } from './types.ts'
export type { Dial } from './upstream/dial.ts'
