import { sql } from 'kysely'
import type { CredentialId } from '../core/index.ts'
import type { CredentialRow } from './credentials.ts'
import type { Executor } from './database.ts'

/** A token made from a credential; `id` says from what exactly, so that a changed credential never finds it. */
export interface MintedToken {
  id: string
  credentialId: CredentialId
  /** The same as of `id`, but for the values that an admin gave it. */
  recipe: string
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

/** A token that has not ended, as the database has it; times from now on, and none is negative but `freshMs`. */
export interface SearchableToken extends Pick<MintedToken, 'id' | 'keyId' | 'sealed'> {
  ageMs: number
  /** For how long it need not be renewed; zero or less when it must not be handed out. */
  freshMs: number
  endsMs: number
}

/**
 * Of those that are made from the same. It is two days of tokens that are renewed every hour, and bounds what each
 * answer is searched for where an upstream refuses every token in turn.
 */
const mostKept = 50

/**
 * The tokens that have not ended of this id, and of what is made from the same with whatever value, whichever proxy
 * minted them: what an answer must be searched for. The one to hand out comes first, then the newest; at most 50.
 * Times are the database's.
 */
export async function searchableTokens(
  db: Executor,
  { id, credentialId, recipe }: Pick<MintedToken, 'id' | 'credentialId' | 'recipe'>,
): Promise<SearchableToken[]> {
  const { rows } = await sql<SearchableToken>`
    WITH every AS (
      SELECT id, credential_id, recipe, key_id, sealed, minted_at, expires_at, renew_at FROM minted_tokens
      UNION ALL
      SELECT id, credential_id, recipe, key_id, sealed, minted_at, expires_at, NULL FROM former_tokens
    )
    SELECT id, key_id AS "keyId", sealed,
      (extract(epoch FROM now() - minted_at) * 1000)::float8 AS "ageMs",
      (extract(epoch FROM coalesce(renew_at, now()) - now()) * 1000)::float8 AS "freshMs",
      (extract(epoch FROM expires_at - now()) * 1000)::float8 AS "endsMs"
    FROM every
    -- Without a recipe where a proxy of the version before wrote it.
    WHERE credential_id = ${credentialId} AND (id = ${id} OR recipe = ${recipe} OR recipe IS NULL)
      AND expires_at > now()
    ORDER BY renew_at IS NOT NULL AND id = ${id} DESC, minted_at DESC
    LIMIT ${mostKept}`.execute(db)
  return rows
}

/**
 * Keeps a token in place of an older one, which is a former one until it ends, and forgets those that ended and the
 * oldest of too many. `searchedMs`: how long it may be good for. The transaction began with `demandEgressKey`.
 */
export async function putMintedToken(
  tx: Executor,
  token: MintedToken & { renewMs: number; searchedMs: number },
): Promise<void> {
  const later = (ms: number) => sql<Date>`now() + ${ms}::float8 * interval '1 millisecond'`
  const moved = ['id', 'credential_id', 'recipe', 'key_id', 'sealed', 'minted_at', 'expires_at'] as const
  await tx
    .insertInto('former_tokens')
    .columns([...moved])
    .expression(
      tx
        .selectFrom('minted_tokens')
        .select([...moved])
        .where('id', '=', token.id)
        .where('expires_at', '>', sql<Date>`now()`),
    )
    .execute()
  const facts = {
    recipe: token.recipe,
    key_id: token.keyId,
    sealed: token.sealed,
    minted_at: sql<Date>`now()`,
    renew_at: later(token.renewMs),
    expires_at: later(token.searchedMs),
  }
  await tx
    .insertInto('minted_tokens')
    .values({ id: token.id, credential_id: token.credentialId, ...facts })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(facts))
    .execute()
  await tx
    .deleteFrom('minted_tokens')
    .where('expires_at', '<', sql<Date>`now() - interval '1 hour'`)
    .execute()
  await tx.deleteFrom('former_tokens').where('expires_at', '<', sql<Date>`now()`).execute()
  await sql`
    DELETE FROM former_tokens USING (
      SELECT number, row_number() OVER (PARTITION BY recipe ORDER BY minted_at DESC, number DESC) AS nth
      FROM former_tokens WHERE credential_id = ${token.credentialId}
    ) AS ranked
    WHERE former_tokens.number = ranked.number AND ranked.nth > ${mostKept}`.execute(tx)
}

/** An upstream no longer takes this token: it is searched for and not handed out. Nothing when it is a former one. */
export async function retireMintedToken(db: Executor, id: string, sealed: string): Promise<void> {
  await db
    .updateTable('minted_tokens')
    .set({ renew_at: sql<Date>`now()` })
    .where('id', '=', id)
    .where('sealed', '=', sealed)
    .execute()
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

/**
 * The credentials of which no token will be asked for until an admin sets them again. One that a token was made from
 * since is well: what was said is of another client, or of another secret beside it.
 */
export async function closedGrants(
  db: Executor,
): Promise<(Pick<CredentialRow, 'name' | 'scope' | 'scopeId'> & { state: 'uncertain' | 'refused' })[]> {
  const { rows } = await sql<Awaited<ReturnType<typeof closedGrants>>[number]>`
    SELECT DISTINCT c.name, c.scope, c.scope_id AS "scopeId", m.state
    FROM mint_claims m JOIN credentials c ON c.id = m.credential_id AND c.version = m.version
    WHERE m.state <> 'minting' AND NOT EXISTS (
      SELECT 1 FROM minted_tokens t WHERE t.credential_id = m.credential_id AND t.minted_at > m.claimed_at
    )
    ORDER BY c.name, "scopeId"`.execute(db)
  return rows
}
