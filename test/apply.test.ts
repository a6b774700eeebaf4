import { expect, inject, test } from 'vitest'
import { parseConfig } from '../src/config.ts'
import { silentLog } from '../src/core/index.ts'
import { apply } from '../src/main-database.ts'

test('a configuration is not applied to a database that was not migrated, and the cure is named', async () => {
  const environment = { DATABASE_URL: inject('databaseUrl') }
  const config = parseConfig('', { environment, baseDir: '/nowhere', name: 'toolcrib.yaml' })
  await expect(apply(config, silentLog)).rejects.toThrow(
    /^the database is older than this version \(0001-init.*\); run `toolcrib migrate` first$/,
  )
})
