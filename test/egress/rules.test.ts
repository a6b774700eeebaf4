import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { createRuleLoader } from '../../src/egress/decision/rules.ts'
import { bumpCatalog, catalogVersion, type Store } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

/** Every reading of the sources that has begun waits for this lock, and sees what was there when it began. */
const gate = sql.lit(7)

async function readingsWait(store: Store): Promise<void> {
  const { db } = store
  await db.insertInto('sources').values({ id: 'orders', spec: '{}', spec_digest: 'd' }).execute()
  await sql`ALTER TABLE sources RENAME TO kept_sources`.execute(db)
  await sql`CREATE VIEW sources AS
    SELECT s.* FROM kept_sources s, pg_advisory_xact_lock_shared(${gate}) AS opened`.execute(db)
}

async function waiting(store: Store): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    SELECT count(*)::int AS n FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()`.execute(store.db)
  return rows[0]?.n ?? 0
}

test('rules that change while they are read are read again for whoever knows of the change', async () => {
  await using store = await testStore()
  await readingsWait(store)
  const before = await catalogVersion(store.db)
  const versions: number[] = []
  const rules = createRuleLoader({ store, log: silentLog, loaded: ({ version }) => versions.push(version) })
  let after = before
  const asked = await store.db.transaction().execute(async (transaction) => {
    await sql`SELECT pg_advisory_xact_lock(${gate})`.execute(transaction)
    const old = Promise.resolve(rules.at(before))
    await expect.poll(() => waiting(store)).toBe(1)
    await bumpCatalog(store.db)
    after = await catalogVersion(store.db)
    const both = [rules.at(after), rules.at(after)].map((each) => Promise.resolve(each))
    return [old, ...both]
  })
  const books = await Promise.all(asked)
  expect(books.map(({ version }) => version)).toEqual([before, after, after])
  expect(versions).toEqual([before, after])
})

test('a version that the catalog does not have is an error, not a loop', async () => {
  await using store = await testStore()
  const rules = createRuleLoader({ store, log: silentLog, loaded: () => undefined })
  const version = await catalogVersion(store.db)
  await expect(rules.at(version + 1)).rejects.toThrow('egress rules cannot be read')
})

test('invariant 5: rules that a database lost, with their version, are not gone by once there are others', async () => {
  await using store = await testStore()
  const { db } = store
  const spec = (host: string) => ({
    spec: JSON.stringify({
      kind: 'stdio',
      command: 'true',
      egress: [{ host, methods: ['GET'], paths: ['/'] }],
    }),
  })
  await db
    .insertInto('sources')
    .values({ id: 'orders', spec_digest: 'd', ...spec('a.example.com') })
    .execute()
  const before = await catalogVersion(db)
  const rules = createRuleLoader({ store, log: silentLog, loaded: () => undefined })
  const change = async (host: string) => {
    await db.updateTable('sources').set(spec(host)).execute()
    await bumpCatalog(db)
    return (await rules.at(await catalogVersion(db))).hosts
  }
  expect(await change('lost.example.com')).toEqual(['lost.example.com'])
  // As it was before, on the server that takes over.
  await db.updateTable('catalog_state').set({ version: before }).execute()
  expect(await change('b.example.com')).toEqual(['b.example.com'])
})
