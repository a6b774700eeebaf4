/**
 * policy: pure decisions about calls, each with the rule and the reason that made it. Layers only narrow: the
 * strictest wins, a toolkit never adds, and what is unknown, disabled, missing, changed or unreviewed is blocked.
 * It reads and writes nothing, and it never parses an alias.
 */
export { checkRules } from './check.ts'
export { decide, explain } from './decide.ts'
export type { Decision, Effect, Question } from './types.ts'
