import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { clientHello } from '../support/client-hello.ts'
import {
  connectRequest,
  type Door,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  type World,
} from '../support/egress-world.ts'
import { listenLocally } from '../support/listening.ts'
import { apiHost, clientCredentials, makeMintWorld } from '../support/minting.ts'
import { pauseProcesses } from '../support/paused.ts'
import { ServerProcess } from '../support/server-process.ts'

/** A proxy that stands still, as on a machine that sleeps, hears nothing of what is withdrawn meanwhile. */

const host = 'orders.example.com'

/** A world in which the lease ends while its proxy stands still in the middle of dialling, once that is asked for. */
async function standingStill() {
  let stand = false
  const world = await makeWorld({
    // No notice comes, and nobody looks before the connection stands.
    watchMs: 60_000,
    dial: async (to) => {
      const socket = await systemDial(to)
      if (!stand) return socket
      execFileSync(process.execPath, ['--input-type=module', '--eval', end])
      // A look is good for half a second.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600)
      return socket
    },
  })
  const end = `import pg from 'pg'
    const client = new pg.Client({ connectionString: '${world.store.url}' })
    await client.connect()
    await client.query('UPDATE leases SET ended_at = now()')
    await client.end()`
  const fromNowOn = () => {
    stand = true
  }
  return { world, fromNowOn }
}

/** A world in which the lease ends while its proxy dials, from when that is asked for. */
interface Meanwhile {
  world: World
  fromNowOn: () => void
}

/** What is answered to a request for which the lease ends meanwhile, and what its upstream saw. */
async function askMeanwhile({ world, fromNowOn }: Meanwhile) {
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const tunnel = await world.tunnel(host, up.port)
  fromNowOn()
  const answer = await sayAndRead(tunnel, request(host, up.port, '/'))
  return { answer, seen: up.seen }
}

/** How a tunnel is opened that is passed through, and what its upstream hears, the lease ending meanwhile. */
async function passThroughMeanwhile({ world, fromNowOn }: Meanwhile) {
  const heard: Buffer[] = []
  const server = createServer((socket) => {
    socket.on('error', () => undefined).on('data', (piece) => heard.push(piece))
  })
  const port = await listenLocally(server)
  await world.setRules([{ host, port, intercept: false, address: '127.0.0.1' }])
  const socket = await world.connect()
  const head = await sayAndRead(socket, connectRequest(host, port, 'orders', world.lease))
  fromNowOn()
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(await clientHello(host))
  // One that was let through is ended by nobody.
  await Promise.race([closed, sleep(3_000)])
  server.close()
  return { head, heard }
}

test('invariant 5: a lease that ends while the proxy stands still in the middle of dialling lets nothing out', async () => {
  const { world, fromNowOn } = await standingStill()
  await using _world = world
  const { answer, seen } = await askMeanwhile({ world, fromNowOn })
  expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*"reason":"revoked"/)
  expect(seen).toEqual([])
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'revoked' })
})

test('invariant 5: a tunnel that is passed through does not begin on a lease that ended while it was dialled', async () => {
  const { world, fromNowOn } = await standingStill()
  await using _world = world
  const { head, heard } = await passThroughMeanwhile({ world, fromNowOn })
  expect(head).toContain('200 Connection Established')
  expect(heard).toEqual([])
  expect(await world.outcome()).toMatchObject({ failure: 'revoked' })
})

/** A world whose machine can sleep: to it no time has passed then, but for the wall clock. No notice of anything comes. */
async function sleepy(options: Parameters<typeof makeWorld>[0] = {}) {
  let asleep = 0
  const world = await makeWorld({
    ...options,
    watchMs: 600_000,
    clock: { now: () => Date.now() + asleep },
  })
  const sleepThrough = async (change: Promise<unknown>) => {
    await change
    asleep += 10_000
  }
  const endLease = () => world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
  return { world, sleepThrough, endLease }
}

test('invariant 5: a lease that ended while the machine slept lets nothing out when it wakes', async () => {
  const { world, sleepThrough, endLease } = await sleepy()
  await using _world = world
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const tunnel = await world.tunnel(host, up.port)
  expect(await sayAndRead(tunnel, request(host, up.port, '/'))).toContain('200 OK')
  await sleepThrough(endLease())
  expect(await sayAndRead(tunnel, request(host, up.port, '/'))).toBe('')
  const another = await sayAndRead(
    await world.connect(),
    connectRequest(host, up.port, 'orders', world.lease),
  )
  expect(another).toMatch(/^HTTP\/1\.1 407 /)
  expect(up.seen).toHaveLength(1)
})

test('invariant 5: a credential that was removed while the machine slept is not sent when it wakes', async () => {
  const { world, sleepThrough } = await sleepy()
  await using _world = world
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const tunnel = await world.tunnel(host, up.port)
  expect(await sayAndRead(tunnel, request(host, up.port, '/'))).toContain('200 OK')
  await sleepThrough(world.store.db.deleteFrom('credentials').execute())
  expect(await sayAndRead(tunnel, request(host, up.port, '/'))).toContain('credential_missing')
  expect(up.seen).toHaveLength(1)
})

test('a token that ended while the machine slept is not sent when it wakes', async () => {
  let asleep = 0
  await using minting = await makeMintWorld({ clock: { now: () => Date.now() + asleep } })
  const { world, server, api } = minting
  await minting.mint(clientCredentials)
  const tunnel = await world.tunnel(apiHost, api.port)
  const say = () => sayAndRead(tunnel, request(apiHost, api.port, '/'))
  expect(await say()).toContain('200 OK')
  await sql`UPDATE minted_tokens SET renew_at = now(), expires_at = now()`.execute(world.store.db)
  asleep += 3_600_000
  expect(await say()).toContain('200 OK')
  expect(minting.bearers()).toEqual(server.issued)
  expect(server.issued).toHaveLength(2)
})

test('a connection that was kept while the machine slept is not used when it wakes', async () => {
  const { world, sleepThrough } = await sleepy()
  await using _world = world
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const tunnel = await world.tunnel(host, up.port)
  const say = () => sayAndRead(tunnel, request(host, up.port, '/'))
  for (let n = 0; n < 3; n += 1) expect(await say()).toContain('200 OK')
  const before = world.dialled.length
  await sleepThrough(Promise.resolve())
  expect(await say()).toContain('200 OK')
  expect(world.dialled.length).toBe(before + 1)
})

/** The same, where the machine sleeps once a connection to an upstream stands, and the lease ends meanwhile. */
async function sleepyDialling() {
  let dialled: (() => Promise<void>) | undefined
  const made = await sleepy({
    dial: async (to) => {
      const socket = await systemDial(to)
      await dialled?.()
      return socket
    },
  })
  const fromNowOn = () => {
    dialled = () => made.sleepThrough(made.endLease())
  }
  return { world: made.world, fromNowOn }
}

test('invariant 5: a request whose machine sleeps in the middle of dialling is decided anew', async () => {
  const { world, fromNowOn } = await sleepyDialling()
  await using _world = world
  const { answer, seen } = await askMeanwhile({ world, fromNowOn })
  expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*"reason":"revoked"/)
  expect(seen).toEqual([])
})

test('invariant 5: a tunnel that is passed through whose machine sleeps in the middle of dialling is decided anew', async () => {
  const { world, fromNowOn } = await sleepyDialling()
  await using _world = world
  const { head, heard } = await passThroughMeanwhile({ world, fromNowOn })
  expect(head).toContain('200 Connection Established')
  expect(heard).toEqual([])
  expect(await world.outcome()).toMatchObject({ failure: 'revoked' })
})

/** `toolcrib egress` beside the world's own proxy, a process of its own that can be stopped. */
async function proxyProcess(world: World): Promise<AsyncDisposable & { pid: number; door: Door }> {
  const stateDir = await mkdtemp(join(tmpdir(), 'toolcrib-still-'))
  await cp(world.keyFolder, join(stateDir, 'egress-keys'), { recursive: true })
  const config = join(stateDir, 'toolcrib.yaml')
  const ca = join(stateDir, 'upstream-ca.pem')
  await writeFile(ca, world.upstreamCa)
  await writeFile(config, JSON.stringify({ state_dir: stateDir, egress: { upstream_ca_files: [ca] } }))
  const environment = { DATABASE_URL: world.store.url, TOOLCRIB_CONFIG: config }
  const proxy = new ServerProcess(['egress'], environment, (line) => line)
  await proxy.start()
  return {
    pid: proxy.pid,
    door: { socketPath: join(stateDir, 'egress', 'proxy.sock') },
    async [Symbol.asyncDispose]() {
      await proxy.stop()
      await rm(stateDir, { recursive: true, force: true })
    },
  }
}

test('invariant 5: the first requests that a stopped proxy finds when it goes on are refused where their lease has ended', async () => {
  await using world = await makeWorld()
  await using proxy = await proxyProcess(world)
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const tunnels = await Promise.all([1, 2, 3].map(() => world.tunnel(host, up.port, { egress: proxy.door })))
  for (const tunnel of tunnels)
    expect(await sayAndRead(tunnel, request(host, up.port, '/before'))).toContain('200 OK')
  const socket = await world.connect(proxy.door)
  let waiting: Promise<string>[]
  {
    using _still = pauseProcesses([proxy.pid])
    // No notice comes of it.
    await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
    waiting = [
      ...tunnels.map((tunnel) => sayAndRead(tunnel, request(host, up.port, '/after'))),
      sayAndRead(socket, connectRequest(host, up.port, 'orders', world.lease)),
    ]
    await sleep(1_000)
  }
  const answers = await Promise.all(waiting)
  expect(answers.slice(0, -1)).toEqual(tunnels.map(() => ''))
  expect(answers.at(-1)).toMatch(/^HTTP\/1\.1 407 /)
  expect(up.seen.map(({ url }) => url)).toEqual(tunnels.map(() => '/before'))
})
