import { type Binding, parseSlot, slotsOverlap } from './binding.ts'
import { type EgressRule, rulePort } from './egress-rule.ts'
import { schemePort } from './hosts.ts'
import { type MintedSpecs, mintInputs, mintUrl, signedHeaders, signInputs } from './minted.ts'

/** The parts of a source that can be at odds. One that is wrong by itself is undefined, and may have been anything. */
export interface SourceParts {
  egress: readonly (EgressRule | undefined)[]
  /** The rules that are wrong by themselves, as text: what they may have been meant to name stands in it. */
  unreadable: string
  minted: MintedSpecs | undefined
  environment: Record<string, string>
}

/** Something that is wrong with a source, and where. */
export interface Problem {
  path: PropertyKey[]
  message: string
}

/** What is wrong with parts of a source that are right each for itself. */
export function sourceProblems({ egress, unreadable, minted = {}, environment }: SourceParts): Problem[] {
  const rules = egress.flatMap((rule, index) => (rule === undefined ? [] : [{ rule, index }]))
  // What is missing may stand in a rule that cannot be read.
  const isMeant = (credential: string) => unreadable.includes(JSON.stringify(credential))
  return [
    ...placeholderProblems(rules, environment, isMeant),
    ...uninjected(rules, minted, isMeant),
    ...mintedProblems(minted),
    ...prefixProblems(rules),
    ...deadRules(rules),
    ...halfIntercepted(rules),
    ...mintedUnseen(rules, minted),
    ...rules.flatMap(({ rule, index }) =>
      ruleProblems(rule, minted).map(({ path, message }) => ({ path: ['egress', index, ...path], message })),
    ),
  ]
}

/** A rule and where it stands in the file. */
interface Placed {
  rule: EgressRule
  index: number
}

/** A stand-in in the environment that no rule would ever replace. */
function placeholderProblems(
  rules: readonly Placed[],
  environment: Record<string, string>,
  isMeant: (credential: string) => boolean,
): Problem[] {
  const standIns = new Set(
    rules.flatMap(({ rule }) =>
      rule.inject.filter((each) => each.placeholder).map((each) => each.credential),
    ),
  )
  return Object.entries(environment).flatMap(([name, value]) =>
    [...value.matchAll(/\$\{placeholder:([^}]*)\}/g)]
      .filter(([, credential = '']) => !standIns.has(credential) && !isMeant(credential))
      .map(([whole]) => ({
        path: ['environment', name],
        message: `${whole}: no rule of this source has \`placeholder: true\` for it`,
      })),
  )
}

/** One person has one stand-in for a credential of a source; with two beginnings only one rule would know it. */
function prefixProblems(rules: readonly Placed[]): Problem[] {
  const first = new Map<string, string>()
  return rules.flatMap(({ rule, index }) =>
    rule.inject.flatMap(({ credential, placeholder, prefix }, at) => {
      if (!placeholder) return []
      const other = first.get(credential) ?? prefix
      first.set(credential, other)
      if (other === prefix) return []
      const message = `the placeholder of ${credential} begins with ${other} in another rule of this source; write the same here`
      return [{ path: ['egress', index, 'inject', at, 'prefix'], message }]
    }),
  )
}

/** A tunnel is opened before anybody knows what will be asked in it: it is intercepted or it is not. */
function halfIntercepted(rules: readonly Placed[]): Problem[] {
  return rules.flatMap(({ rule, index }) => {
    if (rule.intercept) return []
    const same = (other: EgressRule) => other.host === rule.host && rulePort(other) === rulePort(rule)
    const other = rules.find((each) => same(each.rule) && (each.rule.intercept || each.index < index))
    if (other === undefined) return []
    const message = `egress[${other.index}] is for the same host and port; without interception there is one rule for both`
    return [{ path: ['egress', index, 'intercept'], message }]
  })
}

/** The stub that stands for a token endpoint is answered inside of a tunnel that the proxy ends, and nowhere else. */
function mintedUnseen(rules: readonly Placed[], minted: MintedSpecs): Problem[] {
  return rules.flatMap(({ rule, index }) => {
    if (rule.intercept) return []
    const names = Object.keys(minted).filter((name) => {
      const spec = minted[name]
      if (spec === undefined) return false
      const { hostname, port } = mintUrl(spec)
      return hostname === rule.host && Number(port || schemePort('https')) === rulePort(rule)
    })
    if (names.length === 0) return []
    const message = `the token of ${names.join(' and ')} is asked for at this host and port, and unseen a source could fetch one of its own; leave \`intercept\` out`
    return [{ path: ['egress', index, 'intercept'], message }]
  })
}

/** Rules that no request can come to, because an earlier one has each of their methods and paths. */
function deadRules(rules: readonly Placed[]): Problem[] {
  const taken = new Map<string, number>()
  return rules.flatMap(({ rule, index }) => {
    const { scheme, host, methods, paths } = rule
    const port = rulePort(rule)
    const asked = methods.flatMap((method) =>
      paths.map((path) => JSON.stringify([scheme, host, port, method, path])),
    )
    const before = asked.map((each) => taken.get(each))
    for (const each of asked) if (!taken.has(each)) taken.set(each, index)
    if (before.length === 0 || before.includes(undefined)) return []
    const others = [...new Set(before)].map((other) => `egress[${other}]`).join(' and ')
    return [
      {
        path: ['egress', index],
        message: `matches nothing: ${others} before it has the same host, methods and paths; put them together`,
      },
    ]
  })
}

function mintedProblems(minted: MintedSpecs): Problem[] {
  return Object.entries(minted).flatMap(([name, spec]) =>
    mustBeStored(mintInputs(spec), minted).map((message) => ({ path: ['minted', name], message })),
  )
}

function uninjected(
  rules: readonly Placed[],
  minted: MintedSpecs,
  isMeant: (credential: string) => boolean,
): Problem[] {
  const injected = new Set(rules.flatMap(({ rule }) => rule.inject.map(({ credential }) => credential)))
  const message = 'no rule injects it; name it as the `credential` of one, or leave it out'
  return Object.keys(minted)
    .filter((name) => !injected.has(name) && !isMeant(name))
    .map((name) => ({ path: ['minted', name], message }))
}

const bodyless: ReadonlySet<string> = new Set(['GET', 'HEAD', 'WEBSOCKET'])
const needsBody = ({ into }: Binding) => parseSlot(into)?.kind === 'body'

/** What the proxy cannot do where it sees host, port and bytes alone. */
function blindProblems(rule: EgressRule): Problem[] {
  const given = (['methods', 'paths', 'inject'] as const).filter((key) => rule[key].length > 0)
  const meant = (['sign', 'client_certificate'] as const).filter((key) => rule[key] !== undefined)
  const problems: Problem[] = [...given, ...meant].map((key) => ({
    path: [key],
    message: 'leave it out: without interception the proxy sees no request and adds nothing to one',
  }))
  if (rule.scheme !== 'https') problems.push({ path: ['intercept'], message: 'plain http is always seen' })
  return problems
}

function ruleProblems(rule: EgressRule, minted: MintedSpecs): Problem[] {
  const { scheme, sign, client_certificate, address, port, inject, methods } = rule
  const problems: Problem[] = rule.intercept ? [] : blindProblems(rule)
  if (rule.intercept && methods.length === 0)
    problems.push({ path: ['methods'], message: 'name what may be asked, such as [GET]' })
  if (rule.intercept && rule.paths.length === 0)
    problems.push({ path: ['paths'], message: 'name prefixes of paths, such as [/v1]; [/] is all of them' })
  if (scheme !== 'https' && inject.length > 0)
    problems.push({ path: ['inject'], message: 'inject on https only' })
  if (scheme !== 'https' && methods.includes('WEBSOCKET'))
    problems.push({
      path: ['methods'],
      message:
        'a WebSocket is let through at https addresses (wss:) only; write `scheme: https`, or leave WEBSOCKET out',
    })
  problems.push(...overlaps(rule))
  if (inject.some(needsBody) && methods.length > 0 && methods.every((method) => bodyless.has(method)))
    problems.push({
      path: ['inject'],
      message: `${methods.join(' and ')} ${methods.length === 1 ? 'has' : 'have'} no body to put a credential into; name a method that has one, or another place`,
    })
  if (address !== undefined && port === undefined)
    problems.push({
      path: ['address'],
      message: 'name the `port` too: an exception is one address and one port',
    })
  if (client_certificate !== undefined) {
    if (scheme !== 'https')
      problems.push({ path: ['client_certificate'], message: 'a certificate is shown in TLS: https only' })
    problems.push(
      ...mustBeStored([client_certificate], minted).map((message) => ({
        path: ['client_certificate'],
        message,
      })),
    )
  }
  if (sign === undefined) return problems
  if (inject.some(needsBody))
    problems.push({
      path: ['sign'],
      message: 'a signature is over the body as the program sends it; inject elsewhere',
    })
  problems.push(...overwritten(rule, signedHeaders(sign)))
  problems.push(...mustBeStored(signInputs(sign), minted).map((message) => ({ path: ['sign'], message })))
  if (scheme !== 'https') problems.push({ path: ['sign'], message: 'sign on https only' })
  return problems
}

/** Two credentials for one place. */
function overlaps({ inject }: EgressRule): Problem[] {
  const slots = inject.map(({ into }) => parseSlot(into))
  return slots.flatMap((slot, at) => {
    const other = slots.findIndex((each, i) => i < at && slot && each && slotsOverlap(slot, each))
    if (other === -1) return []
    return [
      {
        path: ['inject', at, 'into'],
        message: `${inject[at]?.credential} would stand where ${inject[other]?.credential} does; give each a place of its own, or each a rule of its own`,
      },
    ]
  })
}

/** Credentials in headers that the signature writes: they would be recorded as used and never be sent. */
function overwritten({ inject }: EgressRule, written: readonly string[]): Problem[] {
  return inject.flatMap(({ credential, into }, at) => {
    const slot = parseSlot(into)
    const header = written.find((name) => slot && slotsOverlap(slot, { kind: 'header', name }))
    if (header === undefined) return []
    const message = `the signature writes ${header} itself, and ${credential} would not be sent; give it a place of its own, or a rule of its own`
    return [{ path: ['inject', at, 'into'], message }]
  })
}

function mustBeStored(names: readonly string[], minted: MintedSpecs): string[] {
  return names
    .filter((name) => Object.hasOwn(minted, name))
    .map((name) => `${name} is itself minted; name a stored credential`)
}
