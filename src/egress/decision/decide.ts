import {
  type EgressRule,
  isS3,
  looseKeyPath,
  ruledPath,
  rulePort,
  sureKeyPath,
  surePath,
} from '../../catalog/index.ts'
import type { Destination, Tuple } from '../request/tuple.ts'

/** What no rule names, in the order in which a rule is held against a request. */
export const notAllowed = [
  'host_not_allowed',
  'port_not_allowed',
  'scheme_not_allowed',
  'method_not_allowed',
  'path_not_allowed',
] as const

export type DecisionReason =
  | 'allowed'
  | (typeof notAllowed)[number]
  | 'injection_needs_https'
  | 'path_ambiguous'
  | 'override_forbidden'

/** `rule` names what decided: `egress[2]` of the source, or `default` when nothing named the destination. */
export type Decision =
  | { allow: true; reason: 'allowed'; rule: string; matched: EgressRule; wouldDeny?: DecisionReason }
  | { allow: false; reason: Exclude<DecisionReason, 'allowed'>; rule: string }

const none: number[] = []

/** The rules for one host and port, whatever their scheme. */
export function rulesAt(
  { host, port }: Pick<Tuple, 'host' | 'port'>,
  rules: readonly EgressRule[],
): EgressRule[] {
  return rules.filter((rule) => rule.host === host && rulePort(rule) === port)
}

/** Whether `path` is `prefix` or lies under it, on segment borders: `/v1` covers `/v1/x`, never `/v10`. */
export function underPrefix(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false
  return prefix.endsWith('/') || path.length === prefix.length || path[prefix.length] === '/'
}

/**
 * Whether a source with these rules may send this request. Nothing is allowed but what a rule names with scheme,
 * host, port, method and path; of several that do, the longest path decides, then the first. Where it would be another
 * rule if an encoded slash were taken for a slash, or a method that the query names for the request's own, it is refused:
 * which one it is for would be the server's to say.
 */
export function decideEgress(tuple: Tuple, rules: readonly EgressRule[]): Decision {
  let best: { rule: EgressRule; index: number; length: number } | undefined
  // How near the nearest rule came, so that the refusal says the one thing that is missing.
  let near = 0
  const path = ruledPath(tuple.path)
  const sure = tuple.isKey ? sureKeyPath(path) : surePath(path)
  const otherwise = sure === path ? path : tuple.isKey ? looseKeyPath(path) : path.replaceAll('%2F', '/')
  // Rules with a path that some readings lie under; it is longer than any that all of them do.
  let unsure: number[] = none
  for (let index = 0; index < rules.length; index += 1) {
    const rule = rules[index]
    if (rule?.host !== tuple.host) continue
    near = Math.max(near, 1)
    if (rulePort(rule) !== tuple.port) continue
    near = Math.max(near, 2)
    if (rule.scheme !== tuple.scheme) continue
    near = Math.max(near, 3)
    if (!(rule.methods as readonly string[]).includes(tuple.method)) continue
    near = Math.max(near, 4)
    for (const prefix of rule.paths) {
      if (underPrefix(sure, prefix)) {
        if (prefix.length > (best?.length ?? 0)) best = { rule, index, length: prefix.length }
      } else if (sure !== path && underPrefix(otherwise, prefix)) unsure = [...unsure, index]
    }
  }
  const other = unsure.find((index) => index !== best?.index)
  if (other !== undefined) return { allow: false, reason: 'path_ambiguous', rule: `egress[${other}]` }
  if (tuple.isKey && (best === undefined || !takesKeys(best.rule)))
    return { allow: false, reason: 'path_ambiguous', rule: best ? `egress[${best.index}]` : 'default' }
  if (best !== undefined) {
    const name = `egress[${best.index}]`
    // Cleartext never carries a credential; the rule as a whole is unusable rather than half obeyed.
    if (best.rule.scheme !== 'https' && best.rule.inject.length > 0) {
      return { allow: false, reason: 'injection_needs_https', rule: name }
    }
    for (const method of tuple.perhaps ?? []) {
      const { perhaps: _, ...asked } = tuple
      const instead = decideEgress({ ...asked, method }, rules)
      if (!instead.allow || instead.matched !== best.rule)
        return { allow: false, reason: 'override_forbidden', rule: name }
    }
    return { allow: true, reason: 'allowed', rule: name, matched: best.rule }
  }
  return { allow: false, reason: notAllowed[near] ?? 'host_not_allowed', rule: 'default' }
}

/**
 * Whether this rule's server reads a path as the key of an object, letter for letter: the signature of S3 is over just
 * that reading, and who read the path otherwise would find it wrong.
 */
function takesKeys({ sign, inject }: EgressRule): boolean {
  if (sign?.kind !== 'aws_sigv4' || !sign.services.every(isS3)) return false
  // Which segment is the nth depends on how the path is read.
  return inject.every(({ into }) => !into.startsWith('path:'))
}

/** Whether a tunnel may be opened at all; every request inside is then decided in full. */
export function decideTunnel(destination: Destination, rules: readonly EgressRule[]): Decision {
  const sameHost = [...rules.entries()].filter(([, rule]) => rule.host === destination.host)
  const samePort = sameHost.filter(([, rule]) => rulePort(rule) === destination.port)
  const secure = samePort.find(([, rule]) => rule.scheme === 'https')
  if (secure !== undefined) {
    return { allow: true, reason: 'allowed', rule: `egress[${secure[0]}]`, matched: secure[1] }
  }
  if (sameHost.length === 0) return { allow: false, reason: 'host_not_allowed', rule: 'default' }
  const reason = samePort.length === 0 ? 'port_not_allowed' : 'scheme_not_allowed'
  return { allow: false, reason, rule: 'default' }
}
