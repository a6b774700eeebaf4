import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createLog, newId } from '../../src/core/index.ts'
import { generateEgressKeys } from '../../src/egress/index.ts'
import { createAnnouncer } from '../../src/egress/keys/announce.ts'
import { createClockWatch } from '../../src/egress/keys/clock-watch.ts'
import { clocksOff } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'

const host = 'orders.example.com'
const hourMs = 3_600_000
const wrong = 'the clock of this machine is not that of the database'

interface Line {
  msg: string
  aheadSeconds?: number
}

function listening() {
  const lines: Line[] = []
  const log = createLog(
    { level: 'info', name: 'test' },
    { write: (line) => void lines.push(JSON.parse(line) as Line) },
  )
  const told = () => lines.splice(0).map(({ msg, aheadSeconds }) => [msg.split(':')[0], aheadSeconds])
  return { log, told }
}

test('a proxy whose clock is not the database’s says so in its log and in its row, until it is', async () => {
  await using store = await testStore()
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-clocks-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const keys = await generateEgressKeys(folder, Date.now())
  const { log, told } = listening()
  let aheadMs = hourMs
  const announcer = createAnnouncer({
    store,
    keys,
    leaves: { signWith: () => undefined },
    signs: [...keys.authorities.keys()][0] ?? '',
    replica: { id: newId('rep'), kind: 'egress', host: 'h' },
    now: () => Date.now() + aheadMs,
    log,
  })
  const beats = async () => {
    // What is found out is in the next one.
    for (let n = 0; n < 3; n += 1) await announcer.announce()
    return await clocksOff(store.db, 5_000)
  }
  const off = (seconds: number) => ({ host: 'h', aheadMs: expect.closeTo(seconds * 1_000, -3.4) as number })
  expect(await beats()).toEqual([off(3_600)])
  expect(told()).toEqual([[wrong, 3_600]])
  aheadMs = -hourMs
  expect(await beats()).toEqual([off(-3_600)])
  expect(told()).toEqual([[wrong, -3_600]])
  aheadMs = 0
  expect(await beats()).toEqual([])
  expect(told()).toEqual([['the clock of this machine is that of the database again', 0]])
})

test('a clock is not called wrong by an answer that took too long to say when it was given', async () => {
  const { log, told } = listening()
  let now = 0
  const clock = createClockWatch({ wall: () => now, awake: () => now, log })
  await clock.compare(async () => {
    now += 20_000
    return 0
  })
  expect([clock.aheadMs, told()]).toEqual([undefined, []])
  await clock.compare(async () => now - 6_000)
  expect([clock.aheadMs, told()]).toEqual([6_000, [[wrong, 6]]])
})

test('who has used up what they may in a minute gets nothing back by a clock that is set forward', async () => {
  let set = 0
  await using world = await makeWorld({
    limits: { requestsPerMinutePerPrincipal: 2 },
    clock: { now: () => Date.now() + set },
  })
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const tunnel = await world.tunnel(host, up.port)
  const ask = () => sayAndRead(tunnel, request(host, up.port, '/'))
  expect(await ask()).toContain('200 OK')
  expect(await ask()).toContain('request_rate_exceeded')
  set += hourMs
  await expect(world.tunnel(host, up.port)).rejects.toThrow('request_rate_exceeded')
})
