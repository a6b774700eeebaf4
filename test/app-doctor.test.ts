import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { doctorChecks } from '../src/app-doctor.ts'
import { createCatalog } from '../src/catalog/index.ts'
import { parseConfig } from '../src/config.ts'
import { newId, Secret, silentLog } from '../src/core/index.ts'
import { generateEgressKeys } from '../src/egress/index.ts'
import { generateAuthority } from '../src/egress/keys/authority.ts'
import {
  appendEvents,
  beat,
  ensureRunner,
  ensureSystemPrincipal,
  publishFirstEgressKey,
  trustEgressCa,
} from '../src/store/index.ts'
import { createVault } from '../src/vault/index.ts'
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

test('the doctor names credentials that are set nowhere, that no proxy can open or that make no token any more, with the commands that help', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const driver = new ScriptedMachine().driver()
  const config = parseConfig(
    JSON.stringify({
      sources: {
        orders: {
          kind: 'stdio',
          command: 'node',
          egress: [
            {
              host: 'api.example.com',
              methods: ['GET'],
              paths: ['/'],
              inject: [{ credential: 'ORDERS_KEY', into: 'header:authorization', format: 'Bearer {value}' }],
              client_certificate: 'ORDERS_CERT',
            },
            {
              host: 'minted.example.com',
              methods: ['GET'],
              paths: ['/'],
              inject: [{ credential: 'MINTED', into: 'header:authorization', format: 'Bearer {value}' }],
            },
          ],
          minted: {
            MINTED: {
              kind: 'oauth_client_credentials',
              token_url: 'https://auth.example.com/token',
              client_id: 'MINT_ID',
              client_secret: 'MINT_SECRET',
            },
          },
        },
      },
    }),
    { environment: {}, baseDir: '/nowhere', name: 'toolcrib.yaml' },
  )
  const { sources } = config.file
  await catalog.apply({ sources, toolkits: {}, rules: [] }, 'test')
  const ask = async () => {
    const checks = doctorChecks({ store, config, driver, catalog })
    return (await Promise.all(checks.map((check) => check()))).find(({ name }) => name === 'credentials')
  }
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-doctor-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const key = (await generateEgressKeys(folder, Date.now())).newest()
  await publishFirstEgressKey(store.db, key)
  const proxy = { id: newId('rep'), kind: 'egress', host: 'h' } as const
  await beat(store.db, { ...proxy, held: { opens: [key.id], cas: [], signs: '' } })
  const vault = createVault({ store, log: silentLog })
  const set = async (name: string) =>
    await vault.setCredential({
      name,
      scope: 'global',
      scopeId: '',
      value: new Secret(`a value of ${name}`),
      by: 'test',
    })
  await set('ORDERS_KEY')
  expect(await ask()).toEqual({
    name: 'credentials',
    ok: false,
    detail: 'ORDERS_CERT of orders is not set; MINT_SECRET of orders is not set',
    cure: '`toolcrib credentials set ORDERS_CERT`, `toolcrib credentials set MINT_SECRET`',
  })
  for (const name of ['ORDERS_CERT', 'MINT_SECRET']) await set(name)
  expect(await ask()).toMatchObject({ ok: true, detail: '3 set, none missing' })
  const claim = { claim: 'c', claimed_until: new Date(), state: 'uncertain' } as const
  const secret = store.db.selectFrom('credentials').select('id').where('name', '=', 'MINT_SECRET')
  const { id: credential_id } = await secret.executeTakeFirstOrThrow()
  await store.db
    .insertInto('mint_claims')
    .values({ ...claim, id: 'm', credential_id, version: 1 })
    .execute()
  expect(await ask()).toMatchObject({
    ok: false,
    detail:
      'MINT_SECRET was sent to its token endpoint, whose answer was lost, and may be spent (mint_uncertain)',
    cure: '`toolcrib credentials set MINT_SECRET`',
  })
  await set('MINT_SECRET')
  expect(await ask()).toMatchObject({ ok: true, detail: '3 set, none missing' })
  await store.db.deleteFrom('credentials').where('name', '=', 'MINT_SECRET').execute()
  await beat(store.db, { ...proxy, held: { opens: ['another'], cas: [], signs: '' } })
  const lost = await ask()
  expect(lost?.detail).toBe(
    [
      'MINT_SECRET of orders is not set',
      ...['ORDERS_CERT', 'ORDERS_KEY'].map((name) => `${name} is sealed to ${key.id}, which no proxy has`),
    ].join('; '),
  )
  expect(lost?.cure).toBe(
    'restore the folder `egress-keys` from a backup, or `toolcrib credentials set MINT_SECRET`, `toolcrib credentials set ORDERS_CERT`, `toolcrib credentials set ORDERS_KEY`',
  )
})

const rotate =
  'run `toolcrib keys rotate --ca` as the user that `toolcrib egress` runs as, until it says that the old one is retired'

test.each([
  [20, rotate],
  [-1, rotate],
  [90, null],
])('the doctor knows a CA that ends in %i days', async (days, cure) => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const driver = new ScriptedMachine().driver()
  const lifeMs = 3650 * 86_400_000
  const made = await generateAuthority(Date.now() - lifeMs + days * 86_400_000 + 3_600_000)
  await trustEgressCa(store.db, { certificate: made.certificatePem, signs: true })
  const checks = doctorChecks({ store, config: configOf(), driver, catalog })
  const found = (await Promise.all(checks.map((check) => check()))).find(
    ({ name }) => name === 'certificate authority',
  )
  expect(found).toMatchObject({ ok: cure === null, cure })
})

test('the doctor names sources of which no tool was ever found, and what their sandbox waits for', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const driver = new ScriptedMachine().driver()
  await catalog.apply({ sources: configOf().file.sources, toolkits: {}, rules: [] }, 'test')
  const ask = async () => {
    const checks = doctorChecks({ store, config: configOf(), driver, catalog })
    return (await Promise.all(checks.map((check) => check()))).find(({ name }) => name === 'sources')
  }
  expect(await ask()).toMatchObject({
    ok: false,
    detail: 'no tool was found yet of orders: nobody has looked; start `toolcrib serve`',
  })
  const principalId = await ensureSystemPrincipal(store.db)
  await ensureRunner(store.db, { principalId, name: 'r-system', homeName: 'r-system-home' })
  await store.db.updateTable('runners').set({ state: 'starting', message: 'it is held' }).execute()
  expect(await ask()).toMatchObject({
    ok: false,
    detail: expect.stringMatching(
      /^no tool was found yet of orders: the sandbox .* r-system, is starting since .* UTC \(it is held\)$/,
    ) as string,
  })
  const inputSchema = { type: 'object' as const }
  await catalog.discover('orders', async () => [{ name: 'list', inputSchema }])
  expect(await ask()).toMatchObject({ ok: true })
})

test('the doctor tells of a proxy whose clock an endpoint found wrong, until the next token of a right one', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const { sources } = parseConfig(
    JSON.stringify({
      sources: {
        code: {
          kind: 'stdio',
          command: 'node',
          minted: { T: { kind: 'github_app', app_id: '1', installation_id: '2', private_key: 'K' } },
          egress: [
            {
              host: 'api.github.com',
              methods: ['GET'],
              paths: ['/'],
              inject: [{ credential: 'T', into: 'header:authorization' }],
            },
          ],
        },
      },
    }),
    { environment: {}, baseDir: '/nowhere', name: 'toolcrib.yaml' },
  ).file
  await catalog.apply({ sources, toolkits: {}, rules: [] }, 'test')
  const driver = new ScriptedMachine().driver()
  const ask = async () => {
    const checks = doctorChecks({ store, config: configOf(), driver, catalog })
    return (await Promise.all(checks.map((check) => check()))).find(({ name }) => name === 'clock')
  }
  const minted = (clock: { clockOffSeconds?: number }) => {
    const facts = { credential: 'T', from: ['K'], kind: 'github_app', host: 'api.github.com', port: 443 }
    const data = { ...facts, expiresInSeconds: 3_600, rotated: false, ...clock }
    return appendEvents(store.db, [{ kind: 'credential.minted', data }])
  }
  expect(await ask()).toMatchObject({ ok: true })
  await minted({ clockOffSeconds: -300 })
  expect(await ask()).toMatchObject({
    ok: false,
    detail: "an egress proxy's is 300 s behind that of api.github.com",
  })
  await minted({})
  expect(await ask()).toMatchObject({ ok: true })
})

test('the doctor tells of a proxy whose clock is not the database’s', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const checks = doctorChecks({ store, config: configOf(), driver: new ScriptedMachine().driver(), catalog })
  const ask = async () =>
    (await Promise.all(checks.map((check) => check()))).find(({ name }) => name === 'clock')
  const proxy = { id: newId('rep'), kind: 'egress', host: 'crib-2' } as const
  await beat(store.db, { ...proxy, clockAheadMs: 86_400_300 })
  expect(await ask()).toMatchObject({
    ok: false,
    detail: "that of the egress proxy on crib-2 is 86400 s ahead of the database's",
  })
  await beat(store.db, { ...proxy, clockAheadMs: -300 })
  expect(await ask()).toMatchObject({ ok: true })
})
