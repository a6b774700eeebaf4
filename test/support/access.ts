import { type AccessOptions, createAccess } from '../../src/access/index.ts'
import { Secret, silentLog } from '../../src/core/index.ts'
import type { Store } from '../../src/store/index.ts'

export const day = 86_400_000

/** Access as the app builds it, over the caller's database. */
export function testAccess(store: Store, overrides: Partial<AccessOptions> = {}) {
  return createAccess({
    store,
    peppers: [{ id: 'p1', value: new Secret('first pepper') }],
    maxLifetimeMs: 30 * day,
    log: silentLog,
    ...overrides,
  })
}

export const alice = { slackTeam: 'T1', slackUser: 'U0ALICE01', name: 'Alice' }
export const bob = { slackTeam: 'T1', slackUser: 'U0BOB0001', name: 'Bob' }
export const home = { address: '192.0.2.7', client: 'test-client 1.0' }

/** A clock that a test moves by hand. */
export function handClock() {
  let now = 1_000_000
  return { now: () => now, forward: (ms: number) => void (now += ms) }
}

/** Every row of every table as one text, for searching what must not be in it. */
export async function dumpDatabase(store: Store): Promise<string> {
  const tables = await store.pool.query<{ name: string }>(
    `SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'`,
  )
  const texts = await Promise.all(
    tables.rows.map(async ({ name }) => {
      const rows = await store.pool.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`)
      return rows.rows.map((row) => `${name} ${row.row}`).join('\n')
    }),
  )
  return texts.join('\n')
}
