import { sql } from 'kysely'
import { type RunnerId, sha256 } from '../core/index.ts'
import type { Executor, Store } from './database.ts'
import type { HeldKeys } from './schema.ts'
import { tokensByKey } from './sealed-tokens.ts'

/** The public half of a sealing key: what gateways seal to. */
export interface EgressKeyRow {
  id: string
  publicKey: string
}

/** A certificate authority that sandboxes trust. */
export interface EgressCaRow {
  id: string
  /** PEM. */
  certificate: string
  trustedSince: Date
  /** Null while it is only trusted; proxies sign with the newest of the others. */
  signsSince: Date | null
}

/** A CA is named by its certificate. */
export function egressCaId(certificate: string): string {
  return `ca_${sha256(certificate).slice(0, 20)}`
}

const oneAtATime = sql`SELECT pg_advisory_xact_lock(hashtext('toolcrib egress keys'))`

/** Makes a deployment's first key and CA known. False, and nothing written, when there is a key already. */
export async function publishFirstEgressKey(
  db: Executor,
  first: EgressKeyRow & { caCertificate: string },
): Promise<boolean> {
  if (!db.isTransaction)
    return await db.transaction().execute(async (tx) => await publishFirstEgressKey(tx, first))
  await oneAtATime.execute(db)
  if ((await egressKeys(db)).length > 0) return false
  await publishEgressKey(db, first)
  await trustEgressCa(db, { certificate: first.caCertificate, signs: true })
  return true
}

/** From now on this key is sealed to; again for the same id is harmless. */
export async function publishEgressKey(db: Executor, key: EgressKeyRow): Promise<void> {
  await db
    .insertInto('egress_keys')
    .values({ id: key.id, public_key: key.publicKey, created_at: sql<Date>`clock_timestamp()` })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute()
}

/** Every published key, the newest first: that one is sealed to. */
export async function egressKeys(db: Executor): Promise<(EgressKeyRow & { createdAt: Date })[]> {
  return await db
    .selectFrom('egress_keys')
    .select(['id', 'public_key as publicKey', 'created_at as createdAt'])
    .orderBy('created_at', 'desc')
    .orderBy('id')
    .execute()
}

/**
 * Forgets a key that nothing is sealed to; false when something is. For credentials the foreign key decides, so that
 * a value which somebody seals at the same moment is either counted or refused; for tokens the lock does, which
 * `demandEgressKey` waits for or is waited for. `tx` is a transaction.
 */
export async function retireEgressKey(tx: Executor, id: string): Promise<boolean> {
  await tx.selectFrom('egress_keys').select('id').where('id', '=', id).forUpdate().execute()
  if ((await tokensByKey(tx)).has(id)) return false
  try {
    await tx.deleteFrom('egress_keys').where('id', '=', id).execute()
    return true
  } catch (error) {
    if (isMissingReference(error)) return false
    throw error
  }
}

/**
 * Keeps the published keys as they are until the transaction ends; throws when this one is not among them. To be called
 * before any row is changed: whoever retires a key holds it, and then waits for rows that are sealed to it.
 */
export async function demandEgressKey(tx: Executor, id: string): Promise<void> {
  // All of them: a token that is moved keeps the key that it was sealed to before.
  const keys = await tx.selectFrom('egress_keys').select('id').forKeyShare().execute()
  if (!keys.some((key) => key.id === id)) throw new Error(`the key ${id} has been retired`)
}

/** Whether a statement failed because a row that it names, or that names it, is or is not there. */
export function isMissingReference(error: unknown): boolean {
  return (error as { code?: unknown }).code === '23503'
}

/** Sandboxes that are made from now on trust it; `signs`: proxies sign with it from now on. */
export async function trustEgressCa(
  db: Executor,
  ca: { certificate: string; signs: boolean },
): Promise<void> {
  await db
    .insertInto('egress_cas')
    .values({
      id: egressCaId(ca.certificate),
      certificate: ca.certificate,
      trusted_since: sql<Date>`clock_timestamp()`,
      signs_since: ca.signs ? sql<Date>`clock_timestamp()` : null,
    })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute()
}

/** Every CA that sandboxes trust: those that sign first, the newest before the others. */
export async function egressCas(db: Executor): Promise<EgressCaRow[]> {
  return await db
    .selectFrom('egress_cas')
    .select(['id', 'certificate', 'trusted_since as trustedSince', 'signs_since as signsSince'])
    .orderBy(sql`signs_since DESC NULLS LAST`)
    .orderBy('trusted_since', 'desc')
    .execute()
}

export async function promoteEgressCa(db: Executor, id: string): Promise<void> {
  await db
    .updateTable('egress_cas')
    .set({ signs_since: sql<Date>`clock_timestamp()` })
    .where('id', '=', id)
    .where('signs_since', 'is', null)
    .execute()
}

export async function retireEgressCa(db: Executor, id: string): Promise<void> {
  await db.deleteFrom('egress_cas').where('id', '=', id).execute()
}

/**
 * Proxies whose heartbeat is younger than 30 s, and what each holds; null for one of an older version. `name` is for
 * people: the host, and the id too where it shares one.
 */
export async function liveHolders(
  db: Executor,
): Promise<{ id: string; host: string; name: string; held: HeldKeys | null }[]> {
  const rows = await db
    .selectFrom('replicas')
    .select(['id', 'host', 'egress_keys as held'])
    .where('kind', '=', 'egress')
    .where('heartbeat_at', '>', sql<Date>`now() - interval '30 seconds'`)
    .orderBy('started_at')
    .execute()
  const isAlone = (host: string) => rows.filter((row) => row.host === host).length === 1
  return rows.map((row) => ({ ...row, name: isAlone(row.host) ? row.host : `${row.host} (${row.id})` }))
}

/**
 * The runners of sandboxes that may have been made before the CA was trusted. The margin is for one that was being made
 * while the CA's row was written.
 */
export async function runnersOlderThanCa(db: Executor, caId: string): Promise<RunnerId[]> {
  const rows = await db
    .selectFrom('runners')
    .innerJoin('egress_cas', (join) => join.on('egress_cas.id', '=', caId))
    .select('runners.id as id')
    .where('runners.state', 'not in', ['stopped', 'failed', 'deleted'])
    .where(sql<boolean>`runners.started_at < egress_cas.trusted_since + interval '10 seconds'`)
    .orderBy('runners.started_at')
    .execute()
  return rows.map(({ id }) => id)
}

/** Does `work` while no other process changes keys; undefined when one does. A killed process lets go by itself. */
export async function whileChangingKeys<Result>(
  store: Pick<Store, 'pool'>,
  work: () => Promise<Result>,
): Promise<Result | undefined> {
  const client = await store.pool.connect()
  try {
    const { rows } = await client.query<{ mine: boolean }>(
      `SELECT pg_try_advisory_lock(hashtext('toolcrib keys rotate')) AS mine`,
    )
    if (rows[0]?.mine !== true) return undefined
    try {
      return await work()
    } finally {
      await client.query(`SELECT pg_advisory_unlock(hashtext('toolcrib keys rotate'))`).catch(() => undefined)
    }
  } finally {
    // Not back into the pool: where it could not be given back, the lock ends with the connection.
    client.release(true)
  }
}
