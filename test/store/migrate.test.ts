import { sql } from 'kysely'
import { expect, test } from 'vitest'
import {
  appendEvents,
  demandMigrated,
  listEvents,
  migrate,
  pendingMigrations,
} from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

test('a migrated database has nothing pending and migrating again does nothing', async () => {
  await using store = await testStore()
  expect(await pendingMigrations(store.db)).toEqual([])
  expect(await migrate(store.db)).toEqual([])
})

test('a database migrated by a newer version is refused and left alone, by what does not migrate too', async () => {
  await using store = await testStore()
  await sql`INSERT INTO kysely_migration VALUES ('9999-later', '2999-01-01')`.execute(store.db)
  for (const refused of [migrate(store.db), demandMigrated(store.db)])
    await expect(refused).rejects.toThrow(/newer Toolcrib \(it has 9999-later\)/)
})

test('audit events can be added and read, never changed or removed', async () => {
  await using store = await testStore()
  await appendEvents(store.db, [{ kind: 'config.applied', data: { digest: 'd', by: 'test' } }])
  expect(await listEvents(store.db, { limit: 10 })).toMatchObject([
    { kind: 'config.applied', data: { digest: 'd' } },
  ])
  for (const statement of [
    sql`UPDATE events SET kind = 'x'`,
    sql`DELETE FROM events`,
    sql`TRUNCATE events`,
  ]) {
    await expect(statement.execute(store.db)).rejects.toThrow(/append-only/)
  }
})
