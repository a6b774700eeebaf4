import { sql } from 'kysely'
import type { Executor } from './database.ts'

/** Takes a delivery; false when it was taken before, so that the caller does nothing twice. */
export async function takeSlackDelivery(db: Executor, id: string): Promise<boolean> {
  const taken = await db
    .insertInto('slack_deliveries')
    .values({ id })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .returning('id')
    .executeTakeFirst()
  return taken !== undefined
}

/** Whether this delivery was taken before. */
export async function knowsSlackDelivery(db: Executor, id: string): Promise<boolean> {
  const row = await db.selectFrom('slack_deliveries').select('id').where('id', '=', id).executeTakeFirst()
  return row !== undefined
}

/** Forgets deliveries older than a day; Slack stops retrying after about an hour. */
export async function forgetOldSlackDeliveries(db: Executor): Promise<void> {
  await db
    .deleteFrom('slack_deliveries')
    .where('received_at', '<', sql<Date>`now() - interval '1 day'`)
    .execute()
}
