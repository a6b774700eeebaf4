import { type Kysely, sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { migrations } from '../../db/migrations/index.ts'
import { AppError } from '../core/index.ts'
import type { Database } from './schema.ts'

/** Names of the migrations that `db` still lacks, in order. */
export async function pendingMigrations(db: Kysely<Database>): Promise<string[]> {
  const state = await makeMigrator(db).getMigrations()
  return state.filter((migration) => migration.executedAt === undefined).map((migration) => migration.name)
}

/** Throws `conflict` with the cure while `db` lacks a migration of this version, or has one that it does not know. */
export async function demandMigrated(db: Kysely<Database>): Promise<void> {
  await demandKnown(db)
  const pending = await pendingMigrations(db)
  if (pending.length === 0) return
  throw new AppError(
    'conflict',
    `the database is older than this version (${pending.join(', ')}); run \`toolcrib migrate\` first`,
  )
}

/** What a newer version keeps there nobody here would look after: a key could be retired that still seals some of it. */
async function demandKnown(db: Kysely<Database>): Promise<void> {
  const unknown = await newerMigrations(db)
  if (unknown.length === 0) return
  throw new AppError(
    'conflict',
    `the database was migrated by a newer Toolcrib (it has ${unknown.join(', ')}); run that version or restore a backup`,
  )
}

/**
 * Brings the database up to this version and returns the names of the migrations applied. Two starters may
 * race: the second waits for the first. A database newer than this code is refused, untouched.
 */
export async function migrate(db: Kysely<Database>): Promise<string[]> {
  await demandKnown(db)
  const { error, results } = await makeMigrator(db).migrateToLatest()
  if (error !== undefined)
    throw new AppError('unavailable', 'a database migration failed; nothing was changed', { cause: error })
  return (results ?? []).filter((result) => result.status === 'Success').map((result) => result.migrationName)
}

function makeMigrator(db: Kysely<Database>): Migrator {
  return new Migrator({ db, provider: { getMigrations: async () => migrations } })
}

async function newerMigrations(db: Kysely<Database>): Promise<string[]> {
  const table = await sql<{
    present: boolean
  }>`SELECT to_regclass('kysely_migration') IS NOT NULL AS present`.execute(db)
  if (table.rows[0]?.present !== true) return []
  const applied = await sql<{ name: string }>`SELECT name FROM kysely_migration ORDER BY name`.execute(db)
  return applied.rows.map((row) => row.name).filter((name) => !(name in migrations))
}
