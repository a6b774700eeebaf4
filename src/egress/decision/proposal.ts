import {
  type EgressRule,
  egressRule,
  requestPath,
  ruledPath,
  rulePort,
  schemePort,
  signInputs,
  sourceProblems,
  surePath,
} from '../../catalog/index.ts'
import { AppError } from '../../core/index.ts'
import { parseAuthority } from '../request/host.ts'
import type { Tuple } from '../request/tuple.ts'
import { webSocketMethod } from '../request/websocket.ts'
import { decideEgress, decideTunnel, rulesAt, underPrefix } from './decide.ts'

/** The rule that would let a request through, as a person writes it: without what goes without saying. */
export type ProposedRule = Partial<EgressRule> & Pick<EgressRule, 'host' | 'methods' | 'paths'>

export interface ProposedAs {
  rule: ProposedRule
  /** What other rules of that host and port send or sign with, and this one does not: whether it should is a person's. */
  without?: string[]
}

export type Proposal = { allowedBy: string } | ProposedAs

/**
 * What to add to `rules` so that `method url` is let through, or which of them does already. Throws `invalid_input`
 * that says what would work, for what no rule can name.
 */
export function proposeRule(method: string, url: string, rules: readonly EgressRule[]): Proposal {
  const tuple = wanted(method, url)
  const allowedBy = allowing(tuple, rules)
  if (allowedBy !== undefined) return { allowedBy }
  const proposed = shortRule(tuple, [{ ...tuple, times: 1 }], rules)
  const problem = problemOf(proposed.rule, rules)
  if (problem === undefined) return proposed
  throw new AppError('invalid_input', `no rule can allow ${method} ${url}: ${problem}`)
}

/** What rules of another source have for a rule's host and port, and the rule itself does not. */
export interface Elsewhere {
  source: string
  port: number
  address?: string
  credentials: string[]
}

/**
 * How other sources reach the host and port of a rule, where that is told nowhere in it: without the same `address` the
 * host may not be found, and what it answers may depend on a credential.
 */
export function elsewhere(
  { rule, without = [] }: ProposedAs,
  others: Readonly<Record<string, { egress: readonly EgressRule[] }>>,
): Elsewhere[] {
  const { scheme = 'https', host } = rule
  const place = { host, port: rulePort(egressRule.parse(rule)) }
  return Object.entries(others).flatMap(([source, { egress }]) => {
    const there = rulesAt(place, egress)
    const address = there.find((other) => other.address !== undefined)?.address
    const credentials = credentialsFor(scheme, there).filter((name) => !without.includes(name))
    const isTold = address === undefined || address === rule.address
    if (isTold && credentials.length === 0) return []
    return [{ source, port: place.port, credentials, ...(isTold ? {} : { address }) }]
  })
}

/** A request as it was recorded, and how often. */
export interface Observed extends Pick<Tuple, 'host' | 'port' | 'method' | 'path'> {
  scheme: string
  times: number
  /** Why it was refused though no rule was asked for, in warn mode: the host was not found, leads inside, … */
  refused?: readonly string[]
}

export interface Suggestion {
  rules: (ProposedAs & { times: number; refused?: string[] })[]
  /** Hosts to which only a tunnel was asked for, and refused: what would have been asked inside is not known. */
  tunnels: { host: string; port: number; times: number }[]
  /** What no rule can allow, such as an address in place of a name. */
  impossible: Observed[]
}

/** So many paths of one host are written out; of more, what they have in common. */
const mostPaths = 5

/** The rules that would have let through what was seen and `rules` do not name: one for each host. */
export function suggestRules(observed: readonly Observed[], rules: readonly EgressRule[]): Suggestion {
  const suggestion: Suggestion = { rules: [], tunnels: [], impossible: [] }
  const places = Map.groupBy(
    observed.filter((one) => one.method === 'CONNECT' || !named(one, rules)),
    ({ scheme, host, port }) => `${scheme} ${host} ${port}`,
  )
  for (const seen of places.values()) {
    const requests = seen.filter(({ method }) => method !== 'CONNECT')
    const [first] = seen
    if (first === undefined) continue
    const times = seen.reduce((sum, one) => sum + one.times, 0)
    const { host, port } = first
    if (requests.length === 0) {
      const anything = shortRule(first, [{ ...first, method: 'GET', path: '/' }], rules)
      if (decideTunnel(first, rules).allow) continue
      if (problemOf(anything.rule, rules) === undefined) suggestion.tunnels.push({ host, port, times })
      else suggestion.impossible.push(...seen)
      continue
    }
    // A path as long as the longest was cut, as far as can be told.
    const whole = requests.map((one) => ({
      ...one,
      path: wholeSegments(one.path, longestRecordedPath - 1) || '/',
    }))
    const proposed = shortRule(first, whole, rules)
    const refused = [...new Set(requests.flatMap((one) => one.refused ?? []))].sort()
    if (problemOf(proposed.rule, rules) === undefined)
      suggestion.rules.push({ ...proposed, times, ...(refused.length === 0 ? {} : { refused }) })
    else suggestion.impossible.push(...requests)
  }
  return suggestion
}

function named(one: Observed, rules: readonly EgressRule[]): boolean {
  const scheme = one.scheme === 'https' ? 'https' : 'http'
  return allowing({ ...one, scheme, query: '' }, rules) !== undefined
}

/** The rule that lets the request through, seen or, where its tunnel is not ended, unseen. */
function allowing(tuple: Tuple, rules: readonly EgressRule[]): string | undefined {
  const decision = decideEgress(tuple, rules)
  if (decision.allow) return decision.rule
  const unseen = tuple.scheme === 'https' ? unseenAt(tuple, rules) : -1
  return unseen === -1 ? undefined : `egress[${unseen}]`
}

function unseenAt({ host, port }: Pick<Tuple, 'host' | 'port'>, rules: readonly EgressRule[]): number {
  return rules.findIndex((rule) => !rule.intercept && rule.host === host && rulePort(rule) === port)
}

/** Why `rule` could not be added to `rules`, by the checks that the configuration is read with. */
function problemOf(rule: ProposedRule, rules: readonly EgressRule[]): string | undefined {
  const checked = egressRule.safeParse(rule)
  if (!checked.success) {
    const [issue] = checked.error.issues
    return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`
  }
  const unseen = unseenAt({ host: rule.host, port: rulePort(checked.data) }, rules)
  if (unseen !== -1)
    return `egress[${unseen}] lets tunnels to that host and port through unseen, and no other rule can stand beside it`
  const [problem] = sourceProblems({
    egress: [...rules, checked.data],
    unreadable: '',
    minted: {},
    environment: {},
  })
  return problem === undefined ? undefined : `${String(problem.path.at(-1))}: ${problem.message}`
}

function shortRule(
  { scheme, host, port }: Pick<Observed, 'scheme' | 'host' | 'port'>,
  requests: readonly Observed[],
  rules: readonly EgressRule[],
): ProposedAs {
  const beside = rulesAt({ host, port }, rules)
  // Where the host is holds for its port, as it does in warn mode; who one is there holds for what a rule names.
  const address = beside.find((rule) => rule.address !== undefined)?.address
  const without = credentialsFor(scheme, beside)
  const usual = port === schemePort(scheme === 'https' ? 'https' : 'http')
  const rule = {
    ...(scheme === 'https' ? {} : { scheme: 'http' as const }),
    host,
    ...(usual && address === undefined ? {} : { port }),
    ...(address === undefined ? {} : { address }),
    methods: [...new Set(requests.map(({ method }) => method))].sort() as EgressRule['methods'],
    paths: shortPaths(requests.map(({ path }) => surePath(ruledPath(path)))),
  }
  return { rule, ...(without.length === 0 ? {} : { without }) }
}

/** Of the rules for one scheme: none goes out in clear. */
function credentialsFor(scheme: string, rules: readonly EgressRule[]): string[] {
  return [...new Set(rules.filter((rule) => rule.scheme === scheme).flatMap(credentialsOf))]
}

function credentialsOf({ inject, sign, client_certificate: shown }: EgressRule): string[] {
  return [
    ...inject.map(({ credential }) => credential),
    ...(sign === undefined ? [] : signInputs(sign)),
    ...(shown === undefined ? [] : [shown]),
  ]
}

/** A longer path is recorded cut. */
export const longestRecordedPath = 2_000

/** `text`, a path or an address with one, or where it is longer than `max` its whole segments within that. */
export function wholeSegments(text: string, max: number): string {
  return text.length <= max ? text : text.slice(0, text.lastIndexOf('/', max))
}

/** At most `mostPaths` prefixes that cover all of `paths`, as long as they can be. */
function shortPaths(paths: readonly string[]): string[] {
  const parts = paths.map((path) => path.split('/').slice(1))
  const depth = depthWithFew(parts)
  if (depth === 0) return ['/']
  const prefixes = new Set(parts.map((segments) => `/${segments.slice(0, depth).join('/')}`))
  const covered = (path: string) => [...prefixes].some((other) => other !== path && underPrefix(path, other))
  return [...prefixes].filter((path) => !covered(path)).sort()
}

/**
 * Up to how many segments the paths have at most `mostPaths` beginnings. Each segment is looked at once: a source may
 * have asked for thousands of paths of a thousand segments.
 */
function depthWithFew(parts: readonly (readonly string[])[]): number {
  const deepest = parts.reduce((most, { length }) => Math.max(most, length), 0)
  /** Which beginning each has, by its number. */
  let begun = parts.map(() => 0)
  for (let depth = 0; depth < deepest; depth += 1) {
    const numbers = new Map<string, number>()
    const longer = parts.map((segments, i) => {
      const segment = segments[depth]
      const name = segment === undefined ? `${begun[i]}` : `${begun[i]}/${segment}`
      const number = numbers.get(name) ?? numbers.size
      numbers.set(name, number)
      return number
    })
    if (numbers.size > mostPaths) return depth
    begun = longer
  }
  return deepest
}

function wanted(method: string, url: string): Tuple {
  const bad = (why: string, given = JSON.stringify(url)) =>
    new AppError('invalid_input', `${given} ${why}; write it as in https://api.example.com/v1/orders`)
  const match = /^(https?|wss):\/\/([^/?#]+)([^?#]*)/i.exec(url)
  if (match === null) throw bad('is no https, http or wss address')
  const [, scheme = '', rawAuthority = '', rawPath = ''] = match
  const authority = parseAuthority(rawAuthority.toLowerCase())
  // Not said again: it may be a password.
  if (!authority.ok && authority.userinfo) throw bad('has a user before its host', 'the address')
  if (!authority.ok)
    throw bad('has a host or a port that no request may name: no dot at its end, and a port from 1 to 65535')
  const path = requestPath(rawPath === '' ? '/' : rawPath)
  if (!path.ok) throw bad(`has a path that no such rule lets out (${path.reason})`)
  // A WebSocket's address says what is asked of it, whatever stands beside it.
  const isWebSocket = scheme.toLowerCase() === 'wss'
  const asked = isWebSocket || scheme.toLowerCase() === 'https' ? 'https' : 'http'
  return {
    scheme: asked,
    host: authority.host,
    port: authority.port ?? schemePort(asked),
    method: isWebSocket ? webSocketMethod : method.toUpperCase(),
    path: path.path,
    query: '',
  }
}
