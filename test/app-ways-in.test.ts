import { expect, test } from 'vitest'
import { createServer } from '../src/app-ways-in.ts'
import { parseConfig } from '../src/config.ts'
import { silentLog } from '../src/core/index.ts'
import { cutOff, testStore } from './support/database.ts'

test('a gateway is not ready while the database is away, and says so', async () => {
  await using store = await testStore()
  const config = parseConfig('', { environment: {}, baseDir: '/nowhere', name: 'toolcrib.yaml' })
  const server = createServer({ config, log: silentLog, store })
  const ready = async () => {
    const { statusCode, body } = await server.inject('/readyz')
    return [statusCode, JSON.parse(body)]
  }
  {
    await using _away = await cutOff(store)
    expect(await ready()).toMatchObject([
      503,
      { error: { code: 'unavailable', message: 'the database does not answer' } },
    ])
  }
  expect(await ready()).toEqual([200, { ok: true }])
  await server.close()
})
