import { createServer, type Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { PrincipalId } from '../../src/core/index.ts'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { notify } from '../../src/store/index.ts'
import { listenTo } from '../support/armed.ts'
import { clientHello } from '../support/client-hello.ts'
import {
  basic,
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  type World,
} from '../support/egress-world.ts'
import { http2Client } from '../support/http2.ts'
import { listenLocally } from '../support/listening.ts'
import { makeRawWorld } from '../support/raw-upstream.ts'
import { until } from '../support/until.ts'

const host = 'orders.example.com'

/** A request whose answer never ends, under way, beside tunnels with none, or none any more. */
async function endless(world: World) {
  const up = await world.upstream((req, res) => {
    if (req.url === '/once') return void res.end('ok')
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    const timer = setInterval(() => res.write('data: x\n\n'), 20)
    res.on('close', () => clearInterval(timer))
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  const idle = await world.tunnel(host, up.port)
  const used = await world.tunnel(host, up.port)
  expect(await sayAndRead(used, request(host, up.port, '/once'))).toContain('ok')
  for (const one of [socket, idle, used]) one.resume()
  socket.write(request(host, up.port, '/events'))
  await new Promise((resolve) => socket.once('data', resolve))
  const closed = Promise.all(
    [socket, idle, used].map((one) => new Promise((resolve) => one.once('close', resolve))),
  )
  return {
    up,
    cutAfter: async (change: () => Promise<unknown>): Promise<number> => {
      const since = performance.now()
      await change()
      await closed
      return performance.now() - since
    },
  }
}

const withdrawals: [string, (world: World) => Promise<unknown>][] = [
  [
    'the lease is ended, with no notice at all',
    (world) => world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute(),
  ],
  [
    'the principal is deactivated',
    async (world) => {
      await world.store.db
        .updateTable('principals')
        .set({ state: 'deactivated', deactivated_at: new Date() })
        .execute()
      await notify(world.store.db, { kind: 'principal', id: world.principalId })
    },
  ],
  [
    'the runner has a new generation',
    (world) => world.store.db.updateTable('runners').set({ generation: 2 }).execute(),
  ],
  ['the runner stops', (world) => world.store.db.updateTable('runners').set({ state: 'stopping' }).execute()],
  [
    'the source is disabled',
    (world) => world.store.db.updateTable('sources').set({ enabled: false }).execute(),
  ],
  ['the rule is taken away', (world) => world.setRules([rule('other.example.com', 443)])],
]
for (const [what, change] of withdrawals) {
  test(`invariant 5: live tunnels and streams end within a second when ${what}`, async () => {
    await using world = await makeWorld()
    const { cutAfter, up } = await endless(world)
    expect(await cutAfter(() => change(world))).toBeLessThan(1_000)
    expect((await world.outcomes(2)).at(-1)).toMatchObject({ status: 200, failure: 'revoked' })
    const again = await sayAndRead(
      await world.connect(),
      connectRequest(host, up.port, 'orders', world.lease),
    )
    expect(again).toMatch(/^HTTP\/1\.1 (?:407|403) /)
  })
}

test.each(['principal', 'runner', 'token'] as const)(
  'invariant 5: a notice of a %s ends live tunnels and streams at once, without a look that comes by itself',
  async (kind) => {
    await using world = await makeWorld({ watchMs: 600_000 })
    const { cutAfter } = await endless(world)
    await cutAfter(async () => {
      await world.store.db
        .updateTable('principals')
        .set({ state: 'deactivated', deactivated_at: new Date() })
        .execute()
      await notify(world.store.db, { kind, id: world.principalId })
    })
    expect((await world.outcomes(2)).at(-1)).toMatchObject({ status: 200, failure: 'revoked' })
  },
)

test('invariant 5: a credential that was removed is refused on the next request of a live tunnel', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('ok')
  await world.vault.removeCredential({ name: 'ORDERS_KEY', scope: 'global', scopeId: '', by: 'test' })
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('credential_missing')
  expect(up.seen).toHaveLength(1)
})

/** A world where finding any host takes long enough for an admin to change their mind. */
async function slowNames() {
  const looking = { count: 0 }
  const world = await makeWorld({
    resolve: async () => {
      looking.count += 1
      await sleep(800)
      return ['93.184.215.14']
    },
    dial: (to) => systemDial({ ...to, address: '127.0.0.1' }),
  })
  return { world, looking }
}

const open = { methods: ['GET'], paths: ['/'] }

test('invariant 5: a lease that ends while a host is looked up lets nothing out', async () => {
  await using stack = new AsyncDisposableStack()
  const { world, looking } = await slowNames()
  stack.use(world)
  const up = await world.upstream((_req, res) => res.end('ok'), 'http')
  await world.setRules([{ ...open, scheme: 'http', host, port: up.port }])
  const head = `GET http://${host}:${up.port}/ HTTP/1.1\r\nHost: ${host}:${up.port}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
  const answer = sayAndRead(await world.connect(), head)
  await until(() => looking.count > 0)
  await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
  expect(await answer).toMatch(/^HTTP\/1\.1 403 [^]*"reason":"revoked"/)
  expect(up.seen).toEqual([])
})

test.each([
  // The tunnel ends with its rule; what is asked in it is answered no more.
  ['its credential is removed', /credential_missing/],
  ['its rule is taken away', /^$/],
])('invariant 5: a request whose host is looked up while %s is not sent', async (what, said) => {
  await using stack = new AsyncDisposableStack()
  const { world, looking } = await slowNames()
  stack.use(world)
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([{ ...open, host, port: up.port, inject: injectBearer }])
  const answer = sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))
  await until(() => looking.count > 0)
  if (what === 'its credential is removed')
    await world.vault.removeCredential({ name: 'ORDERS_KEY', scope: 'global', scopeId: '', by: 'test' })
  else await world.setRules([])
  expect(await answer).toMatch(said)
  await sleep(1_000)
  expect(up.seen).toEqual([])
})

test('invariant 5: a tunnel that is passed through does not begin once its rule is gone', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([{ host, port: up.port, intercept: false, address: '127.0.0.1' }])
  const socket = await world.connect()
  const head = await sayAndRead(socket, connectRequest(host, up.port, 'orders', world.lease))
  expect(head).toContain('200 Connection Established')
  await world.setRules([rule('other.example.com', 443)])
  await sleep(600)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(await clientHello(host))
  await closed
  expect(world.dialled).toEqual([])
  expect((await world.events('egress.denied')).at(-1)?.data).toMatchObject({ reason: 'revoked' })
})

test('a proxy that ends also ends what is only beginning: a tunnel whose host is looked up', async () => {
  await using stack = new AsyncDisposableStack()
  const { world, looking } = await slowNames()
  stack.use(world)
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([{ host, port: up.port, intercept: false }])
  const proxy = await world.replica()
  const socket = await world.connect(proxy)
  const heard = listenTo(socket)
  socket.write(connectRequest(host, up.port, 'orders', world.lease))
  await until(() => looking.count > 0)
  await proxy[Symbol.asyncDispose]()
  await until(() => heard.closed)
  await sleep(1_000)
  expect(heard.text).toBe('')
  expect(world.dialled).toEqual([])
})

test('a proxy that ends leaves no connection open that was being made to an upstream', async () => {
  let dialling = 0
  const held = Promise.withResolvers<void>()
  await using world = await makeWorld({
    async dial(to) {
      dialling += 1
      if (dialling > 1) await held.promise
      return await systemDial(to)
    },
  })
  const connections: Socket[] = []
  const server = createServer((socket) => {
    connections.push(socket.on('error', () => undefined))
    socket.once('data', () => socket.write('HTTP/1.1 204 No Content\r\n\r\n'))
  })
  const port = await listenLocally(server)
  // A connection is kept for requests of its own rule.
  await world.setRules(['/kept', '/cut'].map((path) => rule(host, port, { scheme: 'http', paths: [path] })))
  const proxy = await world.replica()
  const ask = async (path: string) => {
    const socket = await world.connect(proxy)
    const fields = `Host: ${host}:${port}\r\nProxy-Authorization: ${basic('orders', world.lease)}`
    return await sayAndRead(socket, `GET http://${host}:${port}${path} HTTP/1.1\r\n${fields}\r\n\r\n`)
  }
  expect(await ask('/kept')).toContain('204')
  const cut = ask('/cut')
  await until(() => dialling > 1)
  await proxy[Symbol.asyncDispose]()
  held.resolve()
  await until(() => connections.length > 1)
  // A server may wait for a request for ever: it is the proxy that closes.
  await until(() => connections[1]?.closed === true)
  expect(await cut).toBe('')
  server.close()
})

test.each([
  ['an answer that its client does not read', 'http/1.1'],
  ['an answer that its client does not read', 'h2'],
  ['a body that its upstream does not read', 'http/1.1'],
  ['a body that its upstream does not read', 'h2'],
])('invariant 5: %s ends within a second when the lease is withdrawn, by %s', async (what, protocol) => {
  await using raw = await makeRawWorld()
  const { world } = raw
  const block = Buffer.alloc(64 * 1024, 'x')
  const isAnswer = what.startsWith('an answer')
  let sent = 0
  let closed = false
  let readOn: () => void = () => undefined
  /** As much as the other side takes. */
  const fill = (into: Writable) => {
    while (sent < 300_000_000) {
      sent += block.length
      if (!into.write(block)) return void into.once('drain', () => fill(into))
    }
  }
  await using up = await raw.start((upstream) => {
    upstream.once('close', () => (closed = true))
    readOn = () => upstream.resume()
    if (!isAnswer) return void upstream.pause()
    upstream.write('HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n')
    fill(upstream)
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port, { protocols: [protocol] })
  const method = isAnswer ? 'GET' : 'POST'
  if (protocol === 'h2') {
    const stream = http2Client(socket).request(
      { ':method': method, ':authority': `${host}:${up.port}` },
      { endStream: isAnswer },
    )
    stream.on('error', () => undefined)
    if (!isAnswer) fill(stream)
  } else {
    socket.write(request(host, up.port, '/', isAnswer ? [] : ['Content-Length: 300000000'], method))
    if (isAnswer) socket.pause()
    else {
      socket.resume()
      fill(socket)
    }
  }
  // It waits, and with it whoever sends.
  for (let before = -1; before !== sent || sent === 0; await sleep(200)) before = sent
  expect(sent).toBeLessThan(50_000_000)
  const since = performance.now()
  await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
  expect((await world.outcome())['failure']).toBe('revoked')
  expect(performance.now() - since).toBeLessThan(1_000)
  // Node's client of HTTP/2 does not read while it has something to write, and an upstream that is paused does not
  // either: neither sees a connection that was ended. The upstream does once it reads on.
  readOn()
  await until(() => closed)
})

test('another principal keeps going when one is withdrawn', async () => {
  await using world = await makeWorld()
  const { up, cutAfter } = await endless(world)
  const other = await world.addLease({})
  const socket = await world.tunnel(host, up.port, { lease: other.lease })
  socket.resume()
  await cutAfter(() =>
    world.store.db
      .updateTable('leases')
      .set({ ended_at: new Date() })
      .where('principal_id', '=', world.principalId satisfies PrincipalId)
      .execute(),
  )
  expect(socket.destroyed).toBe(false)
})

test('of two proxies that serve the same leases, the death of one loses its open connections only', async () => {
  await using world = await makeWorld()
  let release: () => void = () => undefined
  const up = await world.upstream((req, res) => {
    if (req.url === '/slow') release = () => res.end('late')
    else if (req.url !== '/cut') res.end('ok')
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const other = await world.replica()
  const mine = await world.tunnel(host, up.port)
  const theirs = await world.tunnel(host, up.port, { egress: other })
  const ask = (socket: typeof mine, path: string) => sayAndRead(socket, request(host, up.port, path))
  expect(await ask(mine, '/')).toContain('200 OK')
  expect(await ask(theirs, '/')).toContain('200 OK')
  const slow = ask(mine, '/slow')
  await expect.poll(() => up.seen.map(({ url }) => url)).toContain('/slow')
  const closed = new Promise((resolve) => theirs.once('close', resolve))
  const cut = ask(theirs, '/cut')
  await expect.poll(() => up.seen.map(({ url }) => url)).toContain('/cut')
  await other[Symbol.asyncDispose]()
  await closed
  expect(await cut).toBe('')
  // No right was withdrawn, and the record says so.
  const recorded = (await world.events()).map(({ data }) => data)
  const { requestId } = recorded.find(({ path }) => path === '/cut') ?? {}
  expect(JSON.stringify(recorded.filter((data) => data['requestId'] === requestId))).toContain(
    '"proxy_stopped"',
  )
  release()
  expect(await slow).toContain('late')
  expect(await ask(await world.tunnel(host, up.port), '/')).toContain('200 OK')
  // A revocation reaches the one that is left.
  const idle = await world.tunnel(host, up.port)
  const over = new Promise((resolve) => idle.once('close', resolve))
  await world.store.db.deleteFrom('leases').execute()
  await over
})
