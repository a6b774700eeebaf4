import { expect, inject, test } from 'vitest'
import { createAdminKeys } from '../src/access/index.ts'
import { type AdminKeyId, silentLog } from '../src/core/index.ts'
import { listEvents } from '../src/store/index.ts'
import { dumpDatabase } from './support/access.ts'
import { testStore } from './support/database.ts'
import { runToolcrib } from './support/dev-process.ts'

test('whoever has the database makes a new admin key there when every other is lost, and that is on record', async () => {
  await using store = await testStore()
  await using keys = createAdminKeys({ store, log: silentLog })
  await keys.ensureFirst()

  const made = await runToolcrib(['admin-key', 'new', '--name', ' ops '], { DATABASE_URL: store.url })
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^tca_\w+\n$/) })
  const key = made.stdout.trim()
  expect(made.stderr).not.toContain(key)
  const { id } = await keys.verify(key, '192.0.2.7')
  expect(made.stderr).toContain(`Made ${id} (ops)`)

  const events = await listEvents(store.db, { kind: 'admin_key.created', limit: 5 })
  expect(events[0]?.data).toMatchObject({
    adminKeyId: id,
    name: 'ops',
    by: expect.stringMatching(/^toolcrib admin-key new, run by \S+( \d+)? on \S+$/),
  })
  expect(await dumpDatabase(store)).not.toContain(key.slice(17))

  // With it the lost one can be ended, and it cannot end itself.
  const [first] = await keys.list()
  await keys.revoke(first?.id as AdminKeyId, 'admin ops')
  await expect(keys.revoke(id, 'admin ops')).rejects.toMatchObject({ code: 'conflict' })
})

test('no key is made in a database that was not migrated, nor one without a name', async () => {
  const empty = await runToolcrib(['admin-key', 'new'], { DATABASE_URL: inject('databaseUrl') })
  expect(empty).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('toolcrib migrate') })
  const nameless = await runToolcrib(['admin-key', 'new', '--name', ' '], {})
  expect(nameless).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('1 to 60') })
})
