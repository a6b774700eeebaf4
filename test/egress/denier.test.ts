import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type CallId, newId, silentLog } from '../../src/core/index.ts'
import type { Leases } from '../../src/egress/leases/leases.ts'
import type { Recorder } from '../../src/egress/records/record.ts'
import { countsNothing, oneLease } from '../../src/egress/self-test/parts.ts'
import { createDenier } from '../../src/egress/traffic/deny.ts'

/** A denier whose looks at leases end when `found` says; `recorded` are the calls of each refusal that was written. */
async function slowDenier() {
  const known = oneLease('a-lease', 'orders')
  const identity = await known.current('')
  if (identity === undefined) throw new Error('no lease')
  const looking = Promise.withResolvers<CallId[]>()
  const leases: Leases = { ...known, look: async () => ({ ...identity, callIds: await looking.promise }) }
  const recorded: CallId[][] = []
  const recorder: Pick<Recorder, 'denied'> = { denied: ({ data }) => void recorded.push(data.callIds) }
  const denier = createDenier({
    leases,
    recorder: recorder as Recorder,
    metrics: countsNothing,
    tell: async () => undefined,
    log: silentLog,
  })
  const asked = { scheme: 'https', host: 'a.example.com', port: 443, method: 'GET', path: '/' } as const
  denier.deny(identity, asked, 'host_not_allowed', 'default')
  return { denier, recorded, found: looking.resolve }
}

test('a proxy that ends waits for the refusals whose calls are being looked for', async () => {
  const { denier, recorded, found } = await slowDenier()
  const closed = denier.close(20_000)
  await sleep(50)
  expect(recorded).toEqual([])
  const call = newId('call')
  found([call])
  await closed
  expect(recorded).toEqual([[call]])
})

test('and records them without their calls, once, where the database takes too long', async () => {
  const { denier, recorded, found } = await slowDenier()
  await denier.close(50)
  expect(recorded).toEqual([[]])
  found([newId('call')])
  await sleep(50)
  expect(recorded).toEqual([[]])
})
