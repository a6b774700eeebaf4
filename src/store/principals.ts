import { sql } from 'kysely'
import type { PrincipalId } from '../core/index.ts'
import type { Executor } from './database.ts'

export interface PrincipalRow {
  id: PrincipalId
  kind: 'person' | 'system'
  slackTeam: string | null
  slackUser: string | null
  name: string
  state: 'active' | 'deactivated'
}

const columns = ['id', 'kind', 'slack_team as slackTeam', 'slack_user as slackUser', 'name', 'state'] as const

/** Makes the person's row or brings its name up to date; `created` tells which. */
export async function upsertPerson(
  db: Executor,
  person: { id: PrincipalId; slackTeam: string; slackUser: string; name: string },
): Promise<{ principal: PrincipalRow; created: boolean }> {
  const principal = await db
    .insertInto('principals')
    .values({
      id: person.id,
      kind: 'person',
      slack_team: person.slackTeam,
      slack_user: person.slackUser,
      name: person.name,
    })
    .onConflict((conflict) =>
      conflict.columns(['slack_team', 'slack_user']).doUpdateSet((eb) => ({ name: eb.ref('excluded.name') })),
    )
    .returning(columns)
    .executeTakeFirstOrThrow()
  return { principal, created: principal.id === person.id }
}

export async function findPrincipal(db: Executor, id: PrincipalId): Promise<PrincipalRow | undefined> {
  return await db.selectFrom('principals').select(columns).where('id', '=', id).executeTakeFirst()
}

export async function findPrincipalBySlack(
  db: Executor,
  slackTeam: string,
  slackUser: string,
): Promise<PrincipalRow | undefined> {
  return await db
    .selectFrom('principals')
    .select(columns)
    .where('slack_team', '=', slackTeam)
    .where('slack_user', '=', slackUser)
    .executeTakeFirst()
}

/** Everybody, by name. */
export async function listPrincipals(db: Executor): Promise<PrincipalRow[]> {
  return await db.selectFrom('principals').select(columns).orderBy('name').orderBy('id').execute()
}

/**
 * Reads a principal and keeps its state from changing until the transaction ends. Whoever gives a token takes
 * `share`, whoever takes tokens away takes `update`: so no token is issued beside a deactivation.
 */
export async function lockPrincipal(
  trx: Executor,
  id: PrincipalId,
  mode: 'share' | 'update',
): Promise<PrincipalRow | undefined> {
  const query = trx.selectFrom('principals').select(columns).where('id', '=', id)
  return await (mode === 'share' ? query.forShare() : query.forNoKeyUpdate()).executeTakeFirst()
}

export async function setPrincipalState(
  trx: Executor,
  id: PrincipalId,
  state: 'active' | 'deactivated',
): Promise<void> {
  await trx
    .updateTable('principals')
    .set({ state, deactivated_at: state === 'active' ? null : sql`now()` })
    .where('id', '=', id)
    .execute()
}

/** See `ensureSystemPrincipal`. */
export const systemPrincipal = 'prn_system' as PrincipalId

/** The principal that is nobody: discovery runs in its sandbox. Made on first use; it can have no tokens. */
export async function ensureSystemPrincipal(db: Executor): Promise<PrincipalId> {
  const id = systemPrincipal
  await db
    .insertInto('principals')
    .values({ id, kind: 'system', name: 'toolcrib', slack_team: null, slack_user: null })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute()
  return id
}
