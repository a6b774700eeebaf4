import {
  type Binding,
  type EgressRule,
  type MintedSpec,
  type MintedSpecs,
  mintInputs,
  mintUrl,
  signInputs,
} from '../../catalog/index.ts'

/** What a rule needs of the vault; the same as long as the rule is, for it belongs to one reading of the catalog. */
export interface Needs {
  /** What its host gets by any rule of the source. */
  atHost: readonly Binding[]
  /** What goes there without a slot: beside a signature of any rule, or to a token endpoint. */
  alongside: readonly string[]
  /** Stored credentials, sorted; `key` is all of them in one word. */
  names: string[]
  key: string
  /** Some of it is minted. */
  mints: boolean
}

const known = new WeakMap<EgressRule, Needs>()

/** What `rule` needs, one of the `rules` of a source with these `minted` credentials. */
export function needsOf(rule: EgressRule, rules: readonly EgressRule[], minted: MintedSpecs): Needs {
  let needs = known.get(rule)
  if (needs === undefined) {
    const same = rules.filter((other) => other.host === rule.host)
    const atHost = same.flatMap((other) => other.inject)
    const alongside = [
      ...new Set([...same.flatMap(({ sign }) => sentBeside(sign)), ...sentToEndpoint(minted, rule.host)]),
    ]
    const names = [
      ...[...atHost.map(({ credential }) => credential), ...alongside].flatMap((name) =>
        storedNames(minted, name),
      ),
      ...(rule.sign === undefined ? [] : signInputs(rule.sign)),
      ...(rule.client_certificate === undefined ? [] : [rule.client_certificate]),
    ]
    const mints = [...atHost.map(({ credential }) => credential), ...alongside].some((name) =>
      Object.hasOwn(minted, name),
    )
    const sorted = [...new Set(names)].sort()
    needs = { atHost, alongside, names: sorted, key: sorted.join(' '), mints }
    known.set(rule, needs)
  }
  return needs
}

/** The stored credential that travels with a signature and could come back, if there is one; a key never does. */
function sentBeside(sign: EgressRule['sign']): string[] {
  return sign?.kind === 'aws_sigv4' && sign.session_token !== undefined ? [sign.session_token] : []
}

/** What the proxy itself sends to a token endpoint at this host, and is sent from there. */
function sentToEndpoint(minted: MintedSpecs, host: string): string[] {
  return (
    Object.entries(minted)
      .filter(([, spec]) => mintUrl(spec).hostname === host)
      // An app's key signs and is never sent.
      .flatMap(([name, spec]) => [name, ...(spec.kind === 'github_app' ? [] : mintInputs(spec))])
  )
}

/** What must be read of the vault for a credential of this name. */
function storedNames(minted: MintedSpecs, name: string): string[] {
  const spec = specOf(minted, name)
  return spec === undefined ? [name] : mintInputs(spec)
}

/** How the credential of this name is minted; undefined when it is stored. */
export function specOf(minted: MintedSpecs, name: string): MintedSpec | undefined {
  return Object.hasOwn(minted, name) ? minted[name] : undefined
}
