import { readdir, readFile } from 'node:fs/promises'
import { connect as connectUnix, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { newId } from '../../src/core/index.ts'
import { createEgress, generateEgressKeys } from '../../src/egress/index.ts'
import { createAnnouncer } from '../../src/egress/keys/announce.ts'
import { loadEgressKeys } from '../../src/egress/keys/keys.ts'
import { rotateSealingKey } from '../../src/egress/keys/rotate.ts'
import { rotateCa } from '../../src/egress/keys/rotate-ca.ts'
import { egressCas, egressKeys, liveReplicas, notify } from '../../src/store/index.ts'
import {
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../support/egress-world.ts'

const host = 'api.orders.test'

const folderOf = (world: World) => join(dirname(dirname(world.egress.socketPath ?? '')), 'keys')
const optionsOf = (world: World) => ({
  store: world.store,
  dir: folderOf(world),
  by: 'test',
  now: Date.now(),
  waitMs: 5_000,
  say: () => undefined,
})

/** Another proxy of the same deployment, with the same folder. */
async function secondProxy(world: World) {
  const dir = folderOf(world)
  const upstreamCa = world.upstreamCa
  return await createEgress({
    store: world.store,
    keys: await generateEgressKeys(dir, Date.now()),
    listen: { unixSocketDir: join(dirname(dir), 'second') },
    trustedCas: [upstreamCa],
    systemRoots: false,
    log: world.log,
  })
}

/** A request as a sandbox makes it that trusts `ca`; the status, or what TLS said. */
async function ask(world: World, socketPath: string, port: number, ca: string): Promise<string> {
  const socket: Socket = connectUnix(socketPath)
  socket.on('error', () => undefined)
  await new Promise<void>((resolve) => socket.once('connect', resolve))
  const head = await sayAndRead(socket, connectRequest(host, port, 'orders', world.lease))
  if (!head.startsWith('HTTP/1.1 200')) return head
  const secured = connectTls({ socket, servername: host, ca, ALPNProtocols: ['http/1.1'] })
  const failed = await new Promise<string | undefined>((resolve) => {
    secured.once('secureConnect', () => resolve(undefined))
    secured.once('error', (error) => resolve(error.message))
  })
  secured.on('error', () => undefined)
  if (failed !== undefined) return failed
  const answer = await sayAndRead(secured, request(host, port, '/'))
  socket.destroy()
  return answer.slice(0, 12)
}

test('while a key is rotated, two proxies go on serving with the credential and refuse nothing', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  await using second = await secondProxy(world)
  const [before] = await egressKeys(world.store.db)
  const answers: string[] = []
  let going = true
  const asking = [world.egress.socketPath ?? '', second.socketPath ?? ''].map(async (path) => {
    while (going) answers.push(await ask(world, path, up.port, world.ca))
  })
  for (let i = 0; i < 3; i++) await rotateSealingKey(optionsOf(world))
  going = false
  await Promise.all(asking)
  expect(answers.length).toBeGreaterThan(5)
  expect(new Set(answers)).toEqual(new Set(['HTTP/1.1 200']))
  expect((await egressKeys(world.store.db)).map((key) => key.id)).not.toContain(before?.id)
  for (const seen of up.seen) expect(seen.rawHeaders.join('\n')).toContain(`Bearer ${theSecret}`)
  expect(world.logged()).not.toContain(theSecret)
})

test('a proxy that has left is not waited for, though it was told of keys as it left', async () => {
  await using world = await makeWorld()
  const alive = () => liveReplicas(world.store.db, 'egress', 30)
  const before = await alive()
  // What people are shown of a proxy is found in its log.
  expect(world.logged()).toMatch(new RegExp(`"replicaId":"${before[0]}".*"egress proxy ready"`))
  for (let i = 0; i < 5; i++) {
    const second = await secondProxy(world)
    expect(await alive()).toHaveLength(before.length + 1)
    await notify(world.store.db, { kind: 'egress_keys' })
    await second[Symbol.asyncDispose]()
  }
  // Long enough for what was under way.
  await sleep(200)
  expect(await alive()).toEqual(before)
})

test('a proxy that has left is told of no more, whoever asks it to', async () => {
  await using world = await makeWorld()
  const keys = await loadEgressKeys(folderOf(world))
  const replica = { id: newId('rep'), kind: 'egress', host: 'host-b' } as const
  const leaves = { signWith: () => undefined }
  const { store, log } = world
  const announcer = createAnnouncer({ store, keys, leaves, signs: '', replica, now: Date.now, log })
  const alive = async () => (await liveReplicas(world.store.db, 'egress', 30)).includes(replica.id)
  await announcer.announce()
  expect(await alive()).toBe(true)
  await Promise.all([announcer.announce(), announcer.leave(), announcer.announce()])
  expect(await alive()).toBe(false)
})

test('a CA is changed while sandboxes run: both are trusted until none is left that knows only the old one', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  await using second = await secondProxy(world)
  const proxies = [world.egress.socketPath ?? '', second.socketPath ?? '']
  const askBoth = async (ca: string) =>
    await Promise.all(proxies.map((path) => ask(world, path, up.port, ca)))
  const startedAt = async (started: Date) =>
    await world.store.db.updateTable('runners').set({ started_at: started }).execute()
  const both = ['HTTP/1.1 200', 'HTTP/1.1 200']

  await startedAt(new Date(Date.now() - 60_000))
  const waiting = await rotateCa(optionsOf(world))
  expect(waiting).toMatchObject({ sandboxes: [expect.stringMatching(/^run_/)], retired: [] })
  expect(await rotateCa(optionsOf(world))).toEqual(waiting)
  const trusted = await egressCas(world.store.db)
  expect(trusted).toMatchObject([{ signsSince: expect.any(Date) }, { id: waiting.caId, signsSince: null }])
  const newCa = trusted[1]?.certificate ?? ''
  // The old sandbox, and one made now, which trusts both.
  expect(await askBoth(world.ca)).toEqual(both)
  expect(await askBoth(`${world.ca}\n${newCa}`)).toEqual(both)

  await startedAt(new Date(Date.now() + 20_000))
  expect(await rotateCa(optionsOf(world))).toMatchObject({ caId: waiting.caId, sandboxes: [] })
  expect(await egressCas(world.store.db)).toMatchObject([{ id: waiting.caId }])
  expect(await askBoth(newCa)).toEqual(both)
  expect(await askBoth(`${world.ca}\n${newCa}`)).toEqual(both)
  for (const answer of await askBoth(world.ca)) expect(answer).toMatch(/issuer certificate|self-signed/)
  expect((await readdir(folderOf(world))).filter((name) => name.startsWith('ca-'))).toHaveLength(2)
})

test('row 43: the private keys are in the folder alone: in no log, no record, no table, no answer', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const dir = folderOf(world)
  const secrets: string[] = []
  const remember = async () => {
    for (const name of await readdir(dir)) {
      const text = await readFile(join(dir, name), 'utf8')
      if (name.endsWith('.key'))
        secrets.push(...text.split('\n').filter((line) => /^[A-Za-z0-9+/=]{40,}$/.test(line)))
      if (name.endsWith('.json')) secrets.push((JSON.parse(text) as { privateKey: string }).privateKey)
    }
  }
  await remember()
  const first = await ask(world, world.egress.socketPath ?? '', up.port, world.ca)
  await rotateSealingKey(optionsOf(world))
  await rotateCa(optionsOf(world))
  await remember()
  expect(secrets.length).toBeGreaterThan(4)
  const tables = ['events', 'egress_keys', 'egress_cas', 'replicas', 'credentials'] as const
  const rows = await Promise.all(
    tables.map(async (table) => await world.store.db.selectFrom(table).selectAll().execute()),
  )
  const everything = [first, world.logged(), JSON.stringify(rows)].join('\n')
  for (const secret of secrets) expect(everything).not.toContain(secret)
})
