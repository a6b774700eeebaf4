import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createLog, newId } from '../../src/core/index.ts'
import { generateEgressKeys } from '../../src/egress/index.ts'
import { createAnnouncer } from '../../src/egress/keys/announce.ts'
import { joinDeployment } from '../../src/egress/keys/join.ts'
import { cutOff, testStore } from '../support/database.ts'
import { connectRequest, makeWorld, rule, sayAndRead } from '../support/egress-world.ts'
import { until } from '../support/until.ts'

const host = 'orders.example.com'

interface Line {
  level: number
  msg: string
  err?: unknown
}

test('a heartbeat that fails again and again is told once, and so is that it works again', async () => {
  await using store = await testStore()
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-outage-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const keys = await generateEgressKeys(folder, Date.now())
  await joinDeployment(store, keys)
  const lines: Line[] = []
  const log = createLog(
    { level: 'info', name: 'test' },
    { write: (line) => void lines.push(JSON.parse(line) as Line) },
  )
  const replica = { id: newId('rep'), kind: 'egress', host: 'h' } as const
  const announcer = createAnnouncer({
    store,
    keys,
    leaves: { signWith: () => undefined },
    signs: [...keys.authorities.keys()][0] ?? '',
    replica,
    now: () => Date.now(),
    log,
  })
  await announcer.announce()
  {
    await using _away = await cutOff(store)
    // The first may fail in another way: its connection is cut.
    for (let i = 0; i < 20; i += 1) await announcer.announce().catch(() => undefined)
  }
  const causes = new Set(lines.map(({ err }) => JSON.stringify((err as Error).message)))
  expect(lines).toHaveLength(causes.size)
  expect(lines.length).toBeGreaterThan(0)
  expect(new Set(lines.map(({ msg }) => msg))).toEqual(
    new Set(['keys cannot be read or told of; those at hand stay in use']),
  )
  lines.length = 0
  await until(() =>
    announcer.announce().then(
      () => true,
      () => false,
    ),
  )
  expect(lines.at(-1)?.msg).toBe('keys are read and told of again')
})

test('through an outage the proxy’s log has few lines, whoever asks, and says when it is over', async () => {
  await using world = await makeWorld({ metrics: { host: '127.0.0.1', port: 0 } })
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const ready = async () => (await fetch(`http://127.0.0.1:${world.egress.metricsPort}/readyz`)).status
  const ask = async () =>
    await sayAndRead(await world.connect(), connectRequest(host, up.port, 'orders', world.lease))
  // Its lease is looked after.
  await world.tunnel(host, up.port)
  {
    await using _away = await cutOff(world.store)
    await until(async () => (await ask()).startsWith('HTTP/1.1 503 '))
    for (let i = 0; i < 20; i += 1) {
      expect(await ready()).toBe(503)
      expect(await ask()).toMatch(/^HTTP\/1\.1 503 /)
    }
  }
  await until(async () => (await ready()) === 200 && (await ask()).startsWith('HTTP/1.1 200 '))
  const lines = world
    .logged()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
  const said = (msg: string) => lines.filter((line) => line.msg === msg)
  expect(lines.filter(({ level }) => level >= 50)).toEqual([])
  expect(said('ready again')).toHaveLength(1)
  expect(said('leases can be checked again')).toHaveLength(1)
  for (const msg of ['not ready', 'leases cannot be checked; nothing is let out']) {
    // One for each cause: the first may find its connection cut.
    expect(said(msg).length).toBeGreaterThan(0)
    expect(said(msg).length).toBeLessThan(4)
  }
})
