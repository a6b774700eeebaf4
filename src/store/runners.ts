import { sql } from 'kysely'
import { newId, type PrincipalId, type RunnerId } from '../core/index.ts'
import type { Executor } from './database.ts'
import type { RunnerState } from './schema.ts'

/** A runner's row as the manager reads it. Ages are computed by the database, so replicas' clocks do not matter. */
export interface RunnerRow {
  id: RunnerId
  principalId: PrincipalId
  name: string
  homeName: string
  state: RunnerState
  phase: string | null
  wanted: boolean
  draining: boolean
  generation: number
  sandboxUid: string | null
  address: string | null
  isolation: string | null
  holds: number
  leaseEpoch: number
  failures: number
  reason: string | null
  message: string | null
  lastActivityAt: Date
  stateSince: Date
  /** Milliseconds since this generation began to start. */
  startingForMs: number
  /** Milliseconds until the next attempt is due; zero or less when it is. */
  nextAttemptInMs: number
}

/** The columns of a `RunnerRow`, for `SELECT` and `RETURNING` on `runners`. */
export const runnerColumns = sql`
  runners.id, runners.principal_id AS "principalId", runners.name, runners.home_name AS "homeName",
  runners.state, runners.phase, runners.wanted, runners.draining, runners.generation,
  runners.sandbox_uid AS "sandboxUid", runners.address, runners.isolation, runners.holds,
  runners.lease_epoch AS "leaseEpoch", runners.failures, runners.reason, runners.message,
  runners.last_activity_at AS "lastActivityAt", runners.state_since AS "stateSince",
  COALESCE((extract(epoch FROM now() - runners.started_at) * 1000)::float8, 0) AS "startingForMs",
  (extract(epoch FROM runners.next_attempt_at - now()) * 1000)::float8 AS "nextAttemptInMs"`

/** What a runner's name is made of; `undefined` when there is no such principal. */
export async function findRunnerOwner(
  db: Executor,
  principalId: PrincipalId,
): Promise<
  { kind: 'person' | 'system'; slackTeam: string | null; slackUser: string | null; name: string } | undefined
> {
  return await db
    .selectFrom('principals')
    .select(['kind', 'slack_team as slackTeam', 'slack_user as slackUser', 'name'])
    .where('id', '=', principalId)
    .executeTakeFirst()
}

/** The principal's one row; made on first sight with these names, which are never computed again. */
export async function ensureRunner(
  db: Executor,
  runner: { principalId: PrincipalId; name: string; homeName: string },
): Promise<void> {
  await db
    .insertInto('runners')
    .values({
      id: newId('run'),
      principal_id: runner.principalId,
      name: runner.name,
      home_name: runner.homeName,
    })
    .onConflict((conflict) => conflict.column('principal_id').doNothing())
    .execute()
}

export async function findRunner(
  db: Executor,
  by: { id: RunnerId } | { principalId: PrincipalId } | { name: string },
): Promise<RunnerRow | undefined> {
  const where =
    'id' in by
      ? sql`id = ${by.id}`
      : 'name' in by
        ? sql`name = ${by.name}`
        : sql`principal_id = ${by.principalId}`
  const result = await sql<RunnerRow>`SELECT ${runnerColumns} FROM runners WHERE ${where}`.execute(db)
  return result.rows[0]
}

/** Every runner, or those in one state, by name. */
export async function listRunners(db: Executor, state?: RunnerState): Promise<RunnerRow[]> {
  const where = state === undefined ? sql`true` : sql`state = ${state}`
  const result =
    await sql<RunnerRow>`SELECT ${runnerColumns} FROM runners WHERE ${where} ORDER BY name`.execute(db)
  return result.rows
}

/** Runners with their principals' names, for people to read. */
export async function viewRunners(
  db: Executor,
  principalId?: PrincipalId,
): Promise<(RunnerRow & { principalName: string })[]> {
  const where = principalId === undefined ? sql`true` : sql`runners.principal_id = ${principalId}`
  const result = await sql<RunnerRow & { principalName: string }>`
    SELECT ${runnerColumns}, principals.name AS "principalName"
    FROM runners JOIN principals ON principals.id = runners.principal_id
    WHERE ${where} ORDER BY principals.name, runners.id`.execute(db)
  return result.rows
}
