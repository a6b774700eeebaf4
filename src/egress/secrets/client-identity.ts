import { type PrincipalId, type Secret, sha256 } from '../../core/index.ts'
import type { CredentialRow } from '../../store/index.ts'
import { chooseCredential } from '../../vault/index.ts'

/** Who the proxy is to an upstream that asks for a client's certificate. */
export interface ClientIdentity {
  credential: string
  /** Another one for every value, so that no connection of an earlier one is used. */
  id: string
  /** The private key and its certificates. */
  pem: Secret
}

/** Opens what a rule shows in TLS for this person. */
export async function armIdentity(
  credential: string,
  rows: readonly CredentialRow[],
  principalId: PrincipalId,
  openRow: (row: CredentialRow) => Promise<Secret>,
): Promise<
  | { ok: true; identity: ClientIdentity }
  | { ok: false; reason: 'credential_missing' | 'credential_unreadable'; credential: string }
> {
  const row = chooseCredential(rows, credential, principalId)
  if (row === undefined) return { ok: false, reason: 'credential_missing', credential }
  try {
    const pem = await openRow(row)
    // A key alone is no identity.
    if (pem.reveal().includes('-----BEGIN CERTIFICATE-----'))
      return { ok: true, identity: { credential, id: sha256(row.sealed), pem } }
  } catch {
    // Unreadable, as below.
  }
  return { ok: false, reason: 'credential_unreadable', credential }
}
