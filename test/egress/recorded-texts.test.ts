import { expect, test } from 'vitest'
import { giveBackMemory } from '../../src/egress/index.ts'
import { forwardTarget, tunnelTarget } from '../../src/egress/request/tuple.ts'
import { type Asked, askedRaw, factsOf } from '../../src/egress/traffic/asked.ts'

const who = { sourceId: 'orders', runnerId: 'run_1', generation: 1 }
const rawHeaders = ['Host', 'api.example.com']
/** A text of its own, as the parser brings it. */
const target = (start: string) => Buffer.from(`${start}?${'q'.repeat(32_000)}`).toString()
const understood = (canonical: ReturnType<typeof tunnelTarget>): Asked => {
  if (!canonical.ok) throw new Error(canonical.reason)
  return canonical.tuple
}

test.each<[what: string, ask: (n: number) => Asked]>([
  [
    'is let out',
    (n) =>
      understood(
        tunnelTarget(
          { method: 'GET', target: target(`/v1/orders/${n}`), httpVersion: '1.1', rawHeaders },
          { host: 'api.example.com', port: 443 },
        ),
      ),
  ],
  [
    'is let out in clear',
    (n) =>
      understood(
        forwardTarget({
          method: 'GET',
          target: target(`http://api.example.com/v1/orders/${n}`),
          httpVersion: '1.1',
          rawHeaders,
        }),
      ),
  ],
  [
    'is not understood',
    (n) =>
      askedRaw({ method: 'GET', target: target(`/v1/orders/;/${n}`), claimedHost: target('api.a') }, 'https'),
  ],
])('the record of a request that %s keeps nothing of its query, which nobody records', (_, ask) => {
  const used = () => {
    giveBackMemory()
    return process.memoryUsage().heapUsed
  }
  const before = used()
  const records = Array.from({ length: 1_000 }, (_each, n) => factsOf(who, ask(n), 'egress[0]'))
  expect((used() - before) / records.length).toBeLessThan(4_000)
})
