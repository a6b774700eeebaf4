import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { silentLog } from '../../../src/core/index.ts'
import { listen } from '../../../src/store/index.ts'
import { armed, host, listenTo } from '../../support/armed.ts'
import {
  basic,
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'
import { untilListening } from '../../support/listeners.ts'
import { until } from '../../support/until.ts'

/** What is written down of attacks: every one, without their own words, and never so much that it drowns the rest. */

test('row 41: control characters in a request reach no record and no log as they are, and strangers cannot flood', async () => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 8443)])
  const socket = await world.connect()
  const target = `http://${host}/\x1b[31m%0d%0aevil`
  await sayAndRead(
    socket,
    `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`,
  )
  for (let i = 0; i < 40; i += 1) {
    await sayAndRead(
      await world.connect(),
      connectRequest(host, 8443, '\x1b[31mx', `nobody-knows-this-lease-${i}`),
    )
  }
  const events = await world.events('egress.denied', 30)
  await new Promise((resolve) => setTimeout(resolve, 150))
  const text = JSON.stringify(await world.events('egress.denied', 30)) + world.logged()
  expect(events.length).toBeLessThanOrEqual(31)
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  expect(text).not.toMatch(/\x1b|\\u001b/)
})

test('row 15: a password in an address that is refused reaches no record, no log and no answer', async () => {
  await using world = await makeWorld()
  const { up, raw } = await armed(world, (_req, res) => res.end('never'))
  const user = 'bob:PASSWORD@'
  const lease = `Proxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
  const outside = [
    `GET http://${user}${host}/ HTTP/1.1\r\nHost: ${host}\r\n${lease}`,
    `GET http://${user}${host}/ HTTP/1.1\r\nHost: ${user}${host}\r\n${lease}`,
    `GET http://${host}/x#PASSWORD HTTP/1.1\r\nHost: ${host}\r\n${lease}`,
    `CONNECT ${user}${host}:443 HTTP/1.1\r\nHost: ${user}${host}:443\r\n${lease}`,
    `CONNECT ${user}${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\nProxy-Authorization: Basic eDp5\r\n\r\n`,
  ]
  const inside = [
    `GET / HTTP/1.1\r\nHost: ${user}${host}:${up.port}\r\n\r\n`,
    `GET https://${user}${host}:${up.port}/ HTTP/1.1\r\nHost: ${host}:${up.port}\r\n\r\n`,
    `GET /x#PASSWORD HTTP/1.1\r\nHost: ${host}:${up.port}\r\n\r\n`,
  ]
  const answers = []
  for (const text of outside) answers.push(await sayAndRead(await world.connect(), text))
  for (const text of inside) answers.push(await raw(text))
  expect(answers.filter((answer) => !/^HTTP\/1\.1 40[037] /.test(answer))).toEqual([])
  const events = await world.events('egress.denied', answers.length)
  expect(events).toHaveLength(answers.length)
  const everything = [...answers, JSON.stringify(events), world.logged()].join('\n')
  expect(everything).toContain(host)
  expect(everything).not.toMatch(/PASSWORD|bob/)
})

test('row 41: the command that a refusal has an admin paste is one command, whatever the sandbox asked for', async () => {
  await using world = await makeWorld()
  await using notices = listen(world.store, silentLog)
  const told: string[] = []
  notices.on((notice) => {
    if (notice.kind === 'egress_denied') told.push(notice.sentence)
  })
  const { up, say } = await armed(world, (_req, res) => res.end('never'), { paths: ['/v1'] })
  await world.addCall()
  // The proxy listens as well.
  await untilListening(world.store, 2)
  const paths = [
    '/x&echo$IFS/owned',
    '/$(echo$IFS/owned)',
    "/'&echo$IFS/owned&'",
    "/'$(id)'!!",
    '/*',
    `/${"'&(id)&'/".repeat(100)}`,
  ]
  for (const path of paths) {
    const { help } = JSON.parse((await say(path)).split('\r\n\r\n')[1] ?? '') as { help: string }
    const line = help.slice('ask an admin: '.length)
    const words = execFileSync('sh', ['-c', `printf '%s\\0' ${line}`], { encoding: 'utf8' }).split('\0')
    const whole = `https://${host}:${up.port}${path}`
    // A rule covers whole segments: half of one would cover nothing.
    const url = whole.length > 500 ? whole.slice(0, whole.lastIndexOf('/', 500)) : whole
    expect(words).toEqual(['toolcrib', 'egress', 'allow', 'orders', 'GET', url, ''])
    await until(() => told.some((sentence) => sentence.includes(line)))
  }
})

test('row 41: while records cannot be written nothing is let out, and what was let out is recorded after', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const pinned = 'pinned.example.com'
  await world.setRules([
    rule(host, up.port),
    { host: pinned, port: up.port, intercept: false, address: '127.0.0.1' },
  ])
  const socket = await world.tunnel(host, up.port)
  await world.store.pool.query('ALTER TABLE events RENAME TO events_away')
  expect(await sayAndRead(socket, request(host, up.port, '/1'))).toContain('ok')
  await new Promise((resolve) => setTimeout(resolve, 5_200))
  expect(await sayAndRead(socket, request(host, up.port, '/2'))).toMatch(
    /^HTTP\/1\.1 503 [\s\S]*records_unavailable/,
  )
  const passed = connectRequest(pinned, up.port, 'orders', world.lease)
  expect(await sayAndRead(await world.connect(), passed)).toMatch(
    /^HTTP\/1\.1 503 [\s\S]*records_unavailable/,
  )
  expect(up.seen).toHaveLength(1)
  expect(world.dialled).toHaveLength(1)
  await world.store.pool.query('ALTER TABLE events_away RENAME TO events')
  expect((await world.events('egress.allowed'))[0]?.data['path']).toBe('/1')
  await expect
    .poll(() => sayAndRead(socket, request(host, up.port, '/3')), { timeout: 3_000 })
    .toContain('ok')
})

test('row 41: a flood of refused requests is counted, not recorded one by one, and stops nobody else', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('fine'), { paths: ['/v1'] })
  const bob = await world.addLease({})
  const flood = async () => {
    const socket = await world.tunnel(host, up.port)
    for (let i = 0; i < 60; i += 1)
      expect(await sayAndRead(socket, request(host, up.port, '/forbidden'))).toContain('path_not_allowed')
  }
  await Promise.all(Array.from({ length: 20 }, flood))
  const bobs = await world.tunnel(host, up.port, { lease: bob.lease })
  expect(await sayAndRead(bobs, request(host, up.port, '/v1'))).toContain('200 OK')
  const denied = await world.events('egress.denied', 300)
  // The minute may have turned once.
  expect(denied.length).toBeGreaterThanOrEqual(300)
  expect(denied.length).toBeLessThanOrEqual(600)
})

/** The lines of decisions in the log, once there are so many. */
async function lines(world: World, count: number): Promise<Record<string, unknown>[]> {
  const all = () =>
    world
      .logged()
      .split('\n')
      .filter((line) => line.includes('"msg":"egress decision"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  await expect.poll(() => all().length).toBeGreaterThanOrEqual(count)
  return all()
}

test('row 41: each decision is one line of the log, with what its audit event says', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => {
    req.resume()
    req.on('end', () => res.end(`you sent ${req.headers.authorization}`))
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer, paths: ['/v1'] })])
  const callId = await world.addCall()
  const socket = await world.tunnel(host, up.port)
  await sayAndRead(socket, request(host, up.port, '/v1/x?q=1', [], 'POST', 'four'))
  await sayAndRead(socket, request(host, up.port, '/admin'))
  const both = await lines(world, 2)
  expect(both).toHaveLength(2)
  const allowed = both.find(({ decision }) => decision === 'allowed')
  const denied = both.find(({ decision }) => decision === 'denied')
  const events = await world.events(undefined, 2)
  const event = events.find(({ kind }) => kind === 'egress.allowed')?.data ?? {}
  const asked = { principalId: world.principalId, sourceId: 'orders', scheme: 'https', host, port: up.port }
  expect(allowed).toMatchObject({
    ...asked,
    level: 30,
    decision: 'allowed',
    requestId: event['requestId'],
    runnerId: event['runnerId'],
    generation: 1,
    method: 'POST',
    path: '/v1/x',
    rule: 'egress[0]',
    addressClass: 'loopback',
    credentials: [{ credential: 'ORDERS_KEY', slot: 'header:authorization' }],
    callIds: [callId],
    outcome: { ...(await world.outcome()), status: 200, bytesOut: 4, redactions: 1, failure: null },
    durationMs: expect.any(Number) as number,
  })
  expect(denied).toMatchObject({
    ...asked,
    level: 40,
    decision: 'denied',
    reason: 'path_not_allowed',
    method: 'GET',
    path: '/admin',
    rule: 'default',
    callIds: [callId],
  })
  expect(world.logged()).not.toContain(theSecret)
})

test('row 41: a request that comes to nothing has its line too, and of a flood no more lines than records', async () => {
  await using world = await makeWorld({
    dial: () => Promise.reject(new Error('this dialer connects nowhere')),
  })
  await world.setRules([rule(host, 8443, { paths: ['/v1'] })], 'orders', {
    egress_warn_until: new Date(Date.now() + 60_000).toISOString(),
  })
  const socket = await world.tunnel(host, 8443)
  const answer = await sayAndRead(socket, request(host, 8443, '/v1'))
  expect(answer).toContain('could not be reached; an admin finds why in the proxy')
  await sayAndRead(socket, request(host, 8443, '/learnt'))
  const out = await lines(world, 2)
  const unreachable = out.find(({ path }) => path === '/v1')
  const learnt = out.find(({ path }) => path === '/learnt')
  expect(unreachable).toMatchObject({
    decision: 'allowed',
    outcome: { status: null, failure: 'upstream_unreachable' },
  })
  expect(world.logged()).toMatch(/"level":30,[^\n]*"port":8443,"msg":"upstream request failed"/)
  expect(learnt).toMatchObject({
    decision: 'would_deny',
    reason: 'path_not_allowed',
    rule: 'warn',
    level: 30,
  })
  for (let i = 0; i < 40; i += 1)
    await sayAndRead(await world.connect(), connectRequest(host, 8443, 'orders', `nobody-knows-this-${i}`))
  const refused = (await lines(world, 32)).filter(({ decision }) => decision === 'denied')
  expect(refused.length).toBeGreaterThanOrEqual(30)
  expect(refused.length).toBeLessThanOrEqual(31)
  expect(refused[0]).toMatchObject({ principalId: null, reason: 'lease_invalid', rule: 'lease', level: 40 })
})

test.each(['the client leaves', 'the lease is withdrawn'])(
  'row 41: what was masked is recorded too where %s before the end',
  async (how) => {
    await using world = await makeWorld()
    const { up } = await armed(world, (_req, res) => {
      res.setHeader('x-echo', theSecret)
      res.write(`data: ${theSecret}\n\n`)
    })
    const socket = await world.tunnel(host, up.port)
    const heard = listenTo(socket)
    socket.write(request(host, up.port, '/events'))
    await expect.poll(() => heard.text).toContain('***\n\n')
    if (how === 'the client leaves') socket.destroy()
    else await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
    expect(await world.outcome()).toMatchObject({ failure: expect.any(String), redactions: 2 })
  },
)

test('the row of a request that goes on names the proxy that has it', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => void res.writeHead(200).write('begun'))
  await world.setRules([rule(host, up.port)])
  for (const [before, egress] of [world.egress, await world.replica()].entries()) {
    const tunnel = await world.tunnel(host, up.port, { egress })
    tunnel.resume().write(request(host, up.port, '/endless'))
    await world.events('egress.allowed', before + 1)
  }
  const ready = world
    .logged()
    .split('\n')
    .filter((line) => line.includes('egress proxy ready'))
    .map((line) => (JSON.parse(line) as { replicaId: string }).replicaId)
  const open = await world.events('egress.allowed', 2)
  expect(open.map(({ data }) => [data['outcome'], data['replicaId']])).toEqual(ready.map((id) => [null, id]))
})
