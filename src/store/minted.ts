import { sql } from 'kysely'
import type { CredentialId } from '../core/index.ts'
import type { CredentialRow } from './credentials.ts'
import type { Executor } from './database.ts'

/** A token made from a credential; `id` says from what exactly, so that a changed credential never finds it. */
export interface MintedToken {
  id: string
  credentialId: CredentialId
  keyId: string
  sealed: string
}

/** Who may mint what `id` stands for; `version` is the credential's, as an admin set it. */
export interface MintClaim {
  id: string
  credentialId: CredentialId
  version: number
  claim: string
}

/**
 * `busy`: another replica mints. `uncertain`: one began and nobody knows how it ended; `overdue` when this is only
 * now found out. `refused`: the server said that it is no use.
 */
export type ClaimTaken = 'mine' | 'busy' | 'overdue' | 'uncertain' | 'refused'

/** A token that need not be renewed yet, and for how long; times are the database's. */
export async function freshToken(
  db: Executor,
  id: string,
): Promise<(MintedToken & { freshMs: number; ageMs: number }) | undefined> {
  return await db
    .selectFrom('minted_tokens')
    .select([
      'id',
      'credential_id as credentialId',
      'key_id as keyId',
      'sealed',
      sql<number>`(extract(epoch FROM renew_at - now()) * 1000)::float8`.as('freshMs'),
      sql<number>`(extract(epoch FROM now() - minted_at) * 1000)::float8`.as('ageMs'),
    ])
    .where('id', '=', id)
    .where('renew_at', '>', sql<Date>`now()`)
    .executeTakeFirst()
}

/** Keeps a token in place of an older one, and forgets those that ended. */
export async function putMintedToken(
  db: Executor,
  token: MintedToken & { renewMs: number; lifetimeMs: number },
): Promise<void> {
  const later = (ms: number) => sql<Date>`now() + ${ms}::float8 * interval '1 millisecond'`
  const facts = {
    key_id: token.keyId,
    sealed: token.sealed,
    minted_at: sql<Date>`now()`,
    renew_at: later(token.renewMs),
    expires_at: later(token.lifetimeMs),
  }
  await db
    .insertInto('minted_tokens')
    .values({ id: token.id, credential_id: token.credentialId, ...facts })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(facts))
    .execute()
  await db
    .deleteFrom('minted_tokens')
    .where('expires_at', '<', sql<Date>`now() - interval '1 hour'`)
    .execute()
}

/** An upstream no longer takes this token: it is not handed out again. Nothing when a newer one stands there. */
export async function dropMintedToken(db: Executor, id: string, sealed: string): Promise<void> {
  await db.deleteFrom('minted_tokens').where('id', '=', id).where('sealed', '=', sealed).execute()
}

/**
 * Asks for the right to mint, for `holdMs`. A claim whose time is over is taken over only if `repeatable`; otherwise
 * whoever held it may have spent the grant, and the state is `uncertain` from then on.
 */
export async function takeMintClaim(
  db: Executor,
  claim: MintClaim,
  { holdMs, repeatable }: { holdMs: number; repeatable: boolean },
): Promise<ClaimTaken> {
  const until = sql<Date>`now() + ${holdMs}::float8 * interval '1 millisecond'`
  const inserted = await db
    .insertInto('mint_claims')
    .values({
      id: claim.id,
      credential_id: claim.credentialId,
      version: claim.version,
      state: 'minting',
      claim: claim.claim,
      claimed_until: until,
    })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .returning('id')
    .executeTakeFirst()
  if (inserted !== undefined) {
    // What was said of an older value of the credential is over.
    await db
      .deleteFrom('mint_claims')
      .where('credential_id', '=', claim.credentialId)
      .where('version', '<', claim.version)
      .where('state', '!=', 'minting')
      .execute()
    return 'mine'
  }
  const overdue = await db
    .updateTable('mint_claims')
    .set(
      repeatable
        ? { claim: claim.claim, claimed_at: sql`now()`, claimed_until: until }
        : { state: 'uncertain' },
    )
    .where('id', '=', claim.id)
    .where('state', '=', 'minting')
    .where('claimed_until', '<', sql<Date>`now()`)
    .returning('id')
    .executeTakeFirst()
  if (overdue !== undefined) return repeatable ? 'mine' : 'overdue'
  const held = await db
    .selectFrom('mint_claims')
    .select('state')
    .where('id', '=', claim.id)
    .executeTakeFirst()
  return held === undefined || held.state === 'minting' ? 'busy' : held.state
}

/** Gives the claim back, also when others had given up on it; false when it was no longer ours. */
export async function releaseMintClaim(db: Executor, { id, claim }: MintClaim): Promise<boolean> {
  const rows = await db
    .deleteFrom('mint_claims')
    .where('id', '=', id)
    .where('claim', '=', claim)
    .returning('id')
    .execute()
  return rows.length > 0
}

/** Ends the claim in a state that lasts until an admin sets the credential again. */
export async function closeMintClaim(
  db: Executor,
  { id, claim }: MintClaim,
  state: 'uncertain' | 'refused',
): Promise<void> {
  await db.updateTable('mint_claims').set({ state }).where('id', '=', id).where('claim', '=', claim).execute()
}

/** The row as it is now; a rotated refresh token may have come into it a moment ago. */
export async function credentialById(db: Executor, id: CredentialId): Promise<CredentialRow | undefined> {
  return await db
    .selectFrom('credentials')
    .select(['id', 'name', 'scope', 'scope_id as scopeId', 'key_id as keyId', 'sealed', 'version'])
    .where('id', '=', id)
    .executeTakeFirst()
}

/** Puts a rotated refresh token where the old one was; false when an admin has set another one meanwhile. */
export async function rotateCredential(
  db: Executor,
  row: Pick<CredentialRow, 'id' | 'version' | 'keyId' | 'sealed'>,
): Promise<boolean> {
  const rows = await db
    .updateTable('credentials')
    .set({ key_id: row.keyId, sealed: row.sealed })
    .where('id', '=', row.id)
    .where('version', '=', row.version)
    .returning('id')
    .execute()
  return rows.length > 0
}
