import { type SignSpec, signInputs } from '../../../catalog/index.ts'
import type { PrincipalId, Secret } from '../../../core/index.ts'
import type { CredentialRow } from '../../../store/index.ts'
import { chooseCredential } from '../../../vault/index.ts'
import { createSigner, type Signer } from './signer.ts'

export type ArmedSigner =
  | { ok: true; signer: Signer }
  | { ok: false; reason: 'credential_missing' | 'credential_unreadable'; credential: string }

/**
 * Opens what a rule signs with for this person. The values belong together: they all come from one level, the
 * person's own or everybody's, and one that is missing there is a refusal.
 */
export async function armSigner(
  spec: SignSpec,
  rows: readonly CredentialRow[],
  principalId: PrincipalId,
  openRow: (row: CredentialRow) => Promise<Secret>,
): Promise<ArmedSigner> {
  const names = signInputs(spec)
  const chosen = names.map((name) => chooseCredential(rows, name, principalId))
  const scope = chosen.find((row) => row?.scope === 'principal')?.scope ?? 'global'
  const values = new Map<string, Secret>()
  for (const [i, credential] of names.entries()) {
    const row = chosen[i]
    if (row?.scope !== scope) {
      // Everybody's may well be set: what is missing beside a personal one is this person's own.
      const missing = scope === 'principal' ? `${credential} for ${principalId}` : credential
      return { ok: false, reason: 'credential_missing', credential: missing }
    }
    try {
      values.set(credential, await openRow(row))
    } catch {
      return { ok: false, reason: 'credential_unreadable', credential }
    }
  }
  const signer = createSigner(spec, values)
  if (signer === undefined) {
    return { ok: false, reason: 'credential_unreadable', credential: names.join(' ') }
  }
  return { ok: true, signer }
}
