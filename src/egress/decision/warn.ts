import { type EgressRule, egressRule, ruledPath, surePath } from '../../catalog/index.ts'
import type { Destination, Tuple } from '../request/tuple.ts'
import { type Decision, decideEgress, decideTunnel, notAllowed, rulesAt } from './decide.ts'

/** The rules of one source, and whether it is in warn mode. */
export interface SourceRules {
  rules: readonly EgressRule[]
  warn: boolean
}

/**
 * `decideEgress`, but in warn mode what no rule names goes out under a rule made for it alone: only what some rule
 * could name, so that it can be learnt, and never with a credential. Where a rule says at which address the host is,
 * that stays true.
 */
export function decideRequest(tuple: Tuple, { rules, warn }: SourceRules): Decision {
  const decision = decideEgress(tuple, rules)
  return decision.allow || !warn ? decision : warnInstead(tuple, decision, rules)
}

/** The same for `decideTunnel`. */
export function decideConnect(destination: Destination, { rules, warn }: SourceRules): Decision {
  const decision = decideTunnel(destination, rules)
  if (decision.allow || !warn) return decision
  return warnInstead({ ...destination, scheme: 'https', method: 'GET', path: '/' }, decision, rules)
}

function warnInstead(
  asked: Pick<Tuple, 'scheme' | 'host' | 'port' | 'method' | 'path'>,
  refused: Extract<Decision, { allow: false }>,
  rules: readonly EgressRule[],
): Decision {
  if (!notAllowed.some((reason) => reason === refused.reason)) return refused
  const near = rulesAt(asked, rules).find(({ address }) => address !== undefined)
  const { data } = egressRule.safeParse({
    scheme: asked.scheme,
    host: asked.host,
    port: asked.port,
    methods: [asked.method],
    paths: [surePath(ruledPath(asked.path))],
    ...(near?.address === undefined ? {} : { address: near.address }),
  })
  if (data === undefined) return refused
  return { allow: true, reason: 'allowed', rule: 'warn', matched: data, wouldDeny: refused.reason }
}
