import { expect, test } from 'vitest'
import { doctorChecks } from '../src/app-doctor.ts'
import { createCatalog } from '../src/catalog/index.ts'
import { parseConfig } from '../src/config.ts'
import { silentLog } from '../src/core/index.ts'
import { testStore } from './support/database.ts'
import { ScriptedMachine } from './support/scripted-driver.ts'

const tomorrow = new Date(Date.now() + 86_400_000).toISOString()
const configOf = (warnUntil?: string, environment = {}) =>
  parseConfig(
    JSON.stringify({
      sources: {
        orders: {
          kind: 'stdio',
          command: 'node',
          ...(warnUntil === undefined ? {} : { egress_warn_until: warnUntil }),
        },
      },
    }),
    { environment, baseDir: '/nowhere', name: 'toolcrib.yaml' },
  )

test('the doctor knows warn mode as it was applied last, and not as the gateway was started', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const driver = new ScriptedMachine().driver()
  const ask = async (started: string | undefined, applied: string | undefined) => {
    const { sources } = configOf(applied).file
    await catalog.apply({ sources, toolkits: {}, rules: [] }, 'test')
    const checks = doctorChecks({ store, config: configOf(started), driver, catalog })
    return (await Promise.all(checks.map((check) => check()))).find(({ name }) => name === 'warn mode')
  }
  expect(await ask(undefined, tomorrow)).toMatchObject({
    ok: false,
    detail: `orders may reach anything until ${tomorrow}`,
  })
  expect(await ask(tomorrow, undefined)).toMatchObject({ ok: true })
})

test('where no proxy lives the doctor says to restart one, where the database may have moved', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const driver = new ScriptedMachine().driver()
  const ask = async (environment: Record<string, string>) => {
    const checks = doctorChecks({ store, config: configOf(undefined, environment), driver, catalog })
    return (await Promise.all(checks.map((check) => check()))).find(({ name }) => name === 'egress proxy')
  }
  expect((await ask({}))?.cure).toContain('restart it: the embedded database may have moved')
  expect((await ask({ DATABASE_URL: store.url }))?.cure).not.toContain('restart')
})
