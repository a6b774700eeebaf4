import { expect, onTestFinished, test } from 'vitest'
import type { EmbeddedPostgres, Store } from '../../src/store/index.ts'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'
import { ownDatabase } from '../support/own-store.ts'
import { pauseProcesses } from '../support/paused.ts'
import { processes } from '../support/processes.ts'

const host = 'orders.example.com'
const limits = { recordsPerPrincipal: 2 }

/** Until the test is over. */
async function ownServer(): Promise<{ server: EmbeddedPostgres; store: Store }> {
  const own = await ownDatabase()
  onTestFinished(() => own[Symbol.asyncDispose]())
  return own
}

/** Stops the server and all its workers until disposed. */
async function paused({ pid }: EmbeddedPostgres): Promise<Disposable> {
  const all = (await processes()).filter((each) => each.pid === pid || each.parent === pid)
  return pauseProcesses(all.map((each) => each.pid))
}

/** A proxy that has answered once, and whose records are all written. */
async function world() {
  const { server, store } = await ownServer()
  // Looked at so often, the lease is new enough for half a second without a database.
  const made = await makeWorld({ store, limits, watchMs: 50, metrics: { host: '127.0.0.1', port: 0 } })
  const seen: string[] = []
  const up = await made.upstream((req, res) => {
    seen.push(req.url ?? '')
    res.end('ok')
  })
  await made.setRules([rule(host, up.port)])
  const tunnel = await made.tunnel(host, up.port)
  const metrics = async () =>
    await (await fetch(`http://127.0.0.1:${made.egress.metricsPort}/metrics`)).text()
  const ask = async (path: string) => (await sayAndRead(tunnel, request(host, up.port, path))).slice(9, 12)
  const waiting = async () => Number(/^toolcrib_egress_records_waiting (\d+)$/m.exec(await metrics())?.[1])
  expect(await ask('/before')).toBe('200')
  await expect.poll(waiting).toBe(0)
  return { ...made, server, seen, ask, waiting }
}

test('a request waits while the database pauses and too many records do, and is sent once when it goes on', async () => {
  await using asked = await world()
  const { server, seen, ask, waiting } = asked
  let late: Promise<string>
  {
    using _still = await paused(server)
    for (const path of ['/1', '/2', '/3']) expect(await ask(path)).toBe('200')
    late = ask('/late')
    await expect.poll(waiting).toBeGreaterThan(2)
    expect(seen).not.toContain('/late')
  }
  expect(await late).toBe('200')
  expect(seen.filter((path) => path === '/late')).toHaveLength(1)
  const { length } = seen
  const rows = await asked.events('egress.allowed', length)
  expect(rows.map(({ data }) => String(data['path'])).toSorted()).toEqual(seen.toSorted())
})

test('invariant 11: where the database pauses for longer than a request waits, it is refused and nothing is sent', async () => {
  await using asked = await world()
  const { server, seen, ask } = asked
  {
    using _still = await paused(server)
    for (const path of ['/1', '/2', '/3']) expect(await ask(path)).toBe('200')
    expect(await ask('/late')).toBe('503')
  }
  expect(seen).not.toContain('/late')
  const [refused] = await asked.events('egress.denied')
  expect(refused?.data).toMatchObject({ path: '/late', reason: 'records_unavailable' })
})

test('a proxy that is stopped while the database is paused ends, and says how many records were lost', async () => {
  await using asked = await world()
  {
    using _still = await paused(asked.server)
    expect(await asked.ask('/1')).toBe('200')
    await asked.egress[Symbol.asyncDispose]()
  }
  expect(asked.logged()).toContain('records were lost')
})
