import { sql } from 'kysely'
import type { JobId, TokenId } from '../core/index.ts'
import type { Executor } from './database.ts'

export interface ClaimedSlackJob {
  id: JobId
  kind: string
  payload: Record<string, unknown>
  /** How often it was claimed, this time included; also the fence: an older claimant has a smaller number. */
  attempts: number
  /** Age in ms by the database's clock. */
  ageMs: number
}

type Claim = Pick<ClaimedSlackJob, 'id' | 'attempts'>

export async function addSlackJob(
  db: Executor,
  job: { id: JobId; kind: string; payload: Record<string, unknown> },
): Promise<void> {
  await db
    .insertInto('slack_jobs')
    .values({ id: job.id, kind: job.kind, payload: JSON.stringify(job.payload) })
    .execute()
}

/** Claims the job that is due longest for `lockMs`, or nothing. Two workers never hold the same job. */
export async function claimSlackJob(db: Executor, lockMs: number): Promise<ClaimedSlackJob | undefined> {
  const claimed = await sql<Omit<ClaimedSlackJob, 'ageMs'> & { age_ms: number }>`
    UPDATE slack_jobs SET attempts = attempts + 1, locked_until = now() + ${lockMs} * interval '1 ms'
    WHERE id = (
      SELECT id FROM slack_jobs
      WHERE state = 'pending' AND next_attempt_at <= now() AND (locked_until IS NULL OR locked_until <= now())
      ORDER BY next_attempt_at, created_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, kind, payload, attempts, (extract(epoch FROM now() - created_at) * 1000)::float8 AS age_ms
  `.execute(db)
  const row = claimed.rows[0]
  if (row === undefined) return undefined
  const { age_ms: ageMs, ...job } = row
  return { ...job, ageMs }
}

/** Holds the claim for `lockMs` more; false when another worker has taken the job since. */
export async function extendSlackJob(db: Executor, claim: Claim, lockMs: number): Promise<boolean> {
  const until = sql<Date>`now() + ${lockMs} * interval '1 ms'`
  const held = await claimed(db, claim).set({ locked_until: until }).executeTakeFirst()
  return held.numUpdatedRows > 0n
}

/** Ends a job; false, and nothing changed, when the claim is no longer ours. */
export async function finishSlackJob(
  db: Executor,
  claim: Claim,
  state: 'done' | 'failed',
  lastError: string | null,
): Promise<boolean> {
  const ended = await claimed(db, claim)
    .set({ state, last_error: lastError, finished_at: sql<Date>`now()`, locked_until: null })
    .executeTakeFirst()
  return ended.numUpdatedRows > 0n
}

/** Puts a job back, due again in `delayMs`. */
export async function postponeSlackJob(
  db: Executor,
  claim: Claim,
  delayMs: number,
  lastError: string,
): Promise<void> {
  await claimed(db, claim)
    .set({
      next_attempt_at: sql<Date>`now() + ${delayMs} * interval '1 ms'`,
      locked_until: null,
      last_error: lastError,
    })
    .execute()
}

/** Changes the job only while it is still this claim's. */
const claimed = (db: Executor, claim: Claim) =>
  db
    .updateTable('slack_jobs')
    .where('id', '=', claim.id)
    .where('attempts', '=', claim.attempts)
    .where('state', '=', 'pending')

/** Sets a mark on a job; false when it was there already, so that a repeated attempt records a fact once. */
export async function markSlackJob(db: Executor, id: JobId, mark: string): Promise<boolean> {
  const marked = await sql<{ id: string }>`
    UPDATE slack_jobs SET payload = payload || jsonb_build_object(${mark}::text, true)
    WHERE id = ${id} AND NOT jsonb_exists(payload, ${mark}) RETURNING id
  `.execute(db)
  return marked.rows.length > 0
}

/** Milliseconds until the next job is due or its claim runs out (0 when one is due now); undefined when none waits. */
export async function nextSlackJobInMs(db: Executor): Promise<number | undefined> {
  const next = await sql<{ ms: number | null }>`
    SELECT (extract(epoch FROM min(greatest(next_attempt_at, coalesce(locked_until, next_attempt_at))) - now()) * 1000)::float8 AS ms
    FROM slack_jobs WHERE state = 'pending'
  `.execute(db)
  const ms = next.rows[0]?.ms ?? undefined
  return ms === undefined ? undefined : Math.max(0, ms)
}

/** Forgets jobs that ended more than a week ago; what they did stands in the audit events. */
export async function forgetOldSlackJobs(db: Executor): Promise<void> {
  await db
    .deleteFrom('slack_jobs')
    .where('state', '<>', 'pending')
    .where('finished_at', '<', sql<Date>`now() - interval '7 days'`)
    .execute()
}

/** The token that was issued under this request key, if one was. */
export async function findTokenOfRequest(db: Executor, requestKey: string): Promise<TokenId | undefined> {
  const row = await db
    .selectFrom('tokens')
    .select('id')
    .where('request_key', '=', requestKey)
    .executeTakeFirst()
  return row?.id
}
