import { sql } from 'kysely'
import type { PrincipalId, TokenId } from '../core/index.ts'
import type { Executor, Store } from './database.ts'

/** All that decides about a token on a request, read in one round trip. Times are judged by the database's clock. */
export interface TokenState {
  principalId: PrincipalId
  principalName: string
  principalKind: 'person' | 'system'
  principalState: 'active' | 'deactivated'
  toolkit: string | null
  secretHash: string
  pepperId: string
  /** Milliseconds since 1970: this is read on every request, and a number is cheaper to parse than a date. */
  expiresAtMs: number
  expired: boolean
  revoked: boolean
  lastUsedAddress: string | null
  /** Last use was written more than a minute ago. */
  useIsStale: boolean
  catalogVersion: number
}

const stateText = `
  SELECT t.principal_id AS "principalId", p.name AS "principalName", p.kind AS "principalKind",
    p.state AS "principalState", t.toolkit, t.secret_hash AS "secretHash", t.pepper_id AS "pepperId",
    (extract(epoch FROM t.expires_at) * 1000)::float8 AS "expiresAtMs", t.expires_at <= now() AS expired, t.revoked_at IS NOT NULL AS revoked,
    t.last_used_address AS "lastUsedAddress",
    t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 minute' AS "useIsStale",
    c.version AS "catalogVersion"
  FROM tokens t JOIN principals p ON p.id = t.principal_id CROSS JOIN catalog_state c
  WHERE t.id = $1`

/** The hot path of every request: one prepared statement on the pool. */
export async function readTokenState(pool: Store['pool'], id: TokenId): Promise<TokenState | undefined> {
  const result = await pool.query<TokenState>({ name: 'token_state', text: stateText, values: [id] })
  return result.rows[0]
}

/** Writes when, with what and from where a token was used; does nothing within a minute of the last time. */
export async function touchToken(
  pool: Store['pool'],
  use: { id: TokenId; client: string | null; address: string },
): Promise<void> {
  await pool.query({
    name: 'token_touch',
    text: `UPDATE tokens SET last_used_at = now(), last_used_client = $2, last_used_address = $3
      WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')`,
    values: [use.id, use.client, use.address],
  })
}

export interface NewToken {
  id: TokenId
  principalId: PrincipalId
  toolkit: string | null
  secretHash: string
  pepperId: string
  lifetimeMs: number
  requestKey: string | null
  replaces: TokenId | null
}

/**
 * Inserts a token; when its request key was used before for the same thing, replaces the secret of the token made
 * then and returns that one (its id differs from the one given). `undefined`: the key belongs to a token that
 * ended, or to another request.
 */
export async function insertOrReissueToken(
  trx: Executor,
  token: NewToken,
): Promise<{ id: TokenId; expiresAt: Date; toolkit: string | null } | undefined> {
  return await trx
    .insertInto('tokens')
    .values({
      id: token.id,
      principal_id: token.principalId,
      toolkit: token.toolkit,
      secret_hash: token.secretHash,
      pepper_id: token.pepperId,
      request_key: token.requestKey,
      replaces: token.replaces,
      expires_at: sql`now() + make_interval(secs => ${token.lifetimeMs / 1000})`,
    })
    .onConflict((conflict) =>
      conflict
        .column('request_key')
        .doUpdateSet((eb) => ({
          secret_hash: eb.ref('excluded.secret_hash'),
          pepper_id: eb.ref('excluded.pepper_id'),
        }))
        .whereRef('tokens.principal_id', '=', 'excluded.principal_id')
        .where(
          sql<boolean>`tokens.replaces IS NOT DISTINCT FROM excluded.replaces
            AND tokens.revoked_at IS NULL AND tokens.expires_at > now()`,
        ),
    )
    .returning(['id', 'expires_at as expiresAt', 'toolkit'])
    .executeTakeFirst()
}

/** Reads a token and holds its row until the transaction ends, so that two rotations come one after the other. */
export async function lockToken(
  trx: Executor,
  id: TokenId,
): Promise<{ toolkit: string | null; issuedAt: Date; expiresAt: Date; live: boolean } | undefined> {
  return await trx
    .selectFrom('tokens')
    .select(['toolkit', 'issued_at as issuedAt', 'expires_at as expiresAt'])
    .select(sql<boolean>`revoked_at IS NULL AND expires_at > now()`.as('live'))
    .where('id', '=', id)
    .forUpdate()
    .executeTakeFirst()
}

/** Was this request key used already? */
export async function requestKeyUsed(trx: Executor, requestKey: string): Promise<boolean> {
  const row = await trx
    .selectFrom('tokens')
    .select('id')
    .where('request_key', '=', requestKey)
    .executeTakeFirst()
  return row !== undefined
}

/** Ends every token of the filter that was not ended before, and returns those. */
export async function revokeTokens(
  trx: Executor,
  filter: { id: TokenId } | { principalId: PrincipalId },
  cause: string,
): Promise<{ id: TokenId; principalId: PrincipalId; expired: boolean }[]> {
  const query = trx
    .updateTable('tokens')
    .set({ revoked_at: sql`now()`, revoked_cause: cause })
    .where('revoked_at', 'is', null)
  const narrowed =
    'id' in filter
      ? query.where('id', '=', filter.id)
      : query.where('principal_id', '=', filter.principalId).where('expires_at', '>', sql<Date>`now()`)
  return await narrowed
    .returning(['id', 'principal_id as principalId'])
    .returning(sql<boolean>`expires_at <= now()`.as('expired'))
    .execute()
}

const listed = [
  'id',
  'principal_id as principalId',
  'toolkit',
  'issued_at as issuedAt',
  'expires_at as expiresAt',
  'revoked_at as revokedAt',
  'last_used_at as lastUsedAt',
  'last_used_client as lastUsedClient',
  'last_used_address as lastUsedAddress',
] as const

export interface ListedToken {
  id: TokenId
  principalId: PrincipalId
  toolkit: string | null
  issuedAt: Date
  expiresAt: Date
  revokedAt: Date | null
  lastUsedAt: Date | null
  lastUsedClient: string | null
  lastUsedAddress: string | null
}

/** Newest first; only live ones unless `includeEnded`. */
export async function listTokens(
  db: Executor,
  filter: { principalId?: PrincipalId; includeEnded?: boolean },
): Promise<ListedToken[]> {
  let query = db.selectFrom('tokens').select(listed).orderBy('issued_at', 'desc').orderBy('id')
  if (filter.principalId !== undefined) query = query.where('principal_id', '=', filter.principalId)
  if (filter.includeEnded !== true) {
    query = query.where('revoked_at', 'is', null).where('expires_at', '>', sql<Date>`now()`)
  }
  return await query.execute()
}

export async function findToken(db: Executor, id: TokenId): Promise<ListedToken | undefined> {
  return await db.selectFrom('tokens').select(listed).where('id', '=', id).executeTakeFirst()
}

/** Those of `ids` that may no longer be used; an id without a row is one of them. */
export async function endedTokens(pool: Store['pool'], ids: TokenId[]): Promise<TokenId[]> {
  const result = await pool.query<{ id: TokenId }>({
    name: 'tokens_ended',
    text: `SELECT asked.id FROM unnest($1::text[]) AS asked(id)
      LEFT JOIN tokens t ON t.id = asked.id LEFT JOIN principals p ON p.id = t.principal_id
      WHERE t.id IS NULL OR t.revoked_at IS NOT NULL OR t.expires_at <= now() OR p.state <> 'active'`,
    values: [ids],
  })
  return result.rows.map((row) => row.id)
}

/** Slugs of the toolkits that a token may be bound to. */
export async function toolkitSlugs(db: Executor): Promise<string[]> {
  const rows = await db.selectFrom('toolkits').select('slug').orderBy('slug').execute()
  return rows.map((row) => row.slug)
}
