import { AppError, type PrincipalId, type Secret } from '../core/index.ts'
import type { CredentialRow } from '../store/index.ts'
import { type OpeningKey, open } from './seal.ts'

/**
 * The row that applies to the principal: their own, then the global one; undefined when there is none. A
 * profile's comes between the two once calls carry a profile; until then such rows never apply (default deny).
 */
export function chooseCredential(
  rows: readonly CredentialRow[],
  name: string,
  principalId: PrincipalId,
): CredentialRow | undefined {
  const named = rows.filter((row) => row.name === name)
  return (
    named.find((row) => row.scope === 'principal' && row.scopeId === principalId) ??
    named.find((row) => row.scope === 'global')
  )
}

/** Opens a row with the key that it was sealed to; throws `internal` when this process does not hold that key. */
export async function openCredential(
  keys: ReadonlyMap<string, OpeningKey>,
  row: CredentialRow,
): Promise<Secret> {
  const key = keys.get(row.keyId)
  if (key === undefined) {
    throw new AppError(
      'internal',
      `the credential ${row.name} is sealed to key ${row.keyId}, which is not here; set it again`,
    )
  }
  return await open(key, row.sealed, row)
}
