import { mintInputs, signInputs } from './minted.ts'
import type { SourceSpec } from './source-spec.ts'

/** Every credential that a source has read from the vault, some more than once; what it mints is not stored. */
export function storedNames({ egress, minted }: Pick<SourceSpec, 'egress' | 'minted'>): string[] {
  const ofRules = egress.flatMap(({ inject, sign, client_certificate: shown }) => [
    ...inject.map(({ credential }) => credential).filter((credential) => !Object.hasOwn(minted, credential)),
    ...(sign === undefined ? [] : signInputs(sign)),
    ...(shown === undefined ? [] : [shown]),
  ])
  return [...ofRules, ...Object.values(minted).flatMap(mintInputs)]
}
