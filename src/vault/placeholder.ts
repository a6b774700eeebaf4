import { type PrincipalId, sha256 } from '../core/index.ts'

/**
 * The stand-in for a credential that a person's sandbox holds: no secret, worth nothing anywhere but in its slot,
 * and only theirs. The principal's id is random, so no two deployments share one; gateway and proxy work it out by
 * themselves. Letters, digits and what `prefix` has, so that no encoding of a URL or JSON text changes it.
 */
export function placeholderFor(credential: string, principalId: PrincipalId, prefix: string): string {
  return prefix + sha256(JSON.stringify(['toolcrib placeholder v1', credential, principalId])).slice(0, 40)
}

const reference = /\$\{placeholder:([A-Z][A-Z0-9_]*)\}/g

/** The environment with every `${placeholder:NAME}` of a known name filled in; `prefixes` by credential. */
export function fillPlaceholders(
  environment: Readonly<Record<string, string>>,
  prefixes: Readonly<Record<string, string>>,
  principalId: PrincipalId,
): Record<string, string> {
  const fill = (value: string) =>
    value.replace(reference, (whole, name: string) => {
      const prefix = prefixes[name]
      return prefix === undefined ? whole : placeholderFor(name, principalId, prefix)
    })
  return Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, fill(value)]))
}
