import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { createSearchShare, inTurns } from '../../src/egress/bounds/search-share.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead, theSecret } from '../support/egress-world.ts'

const host = 'orders.example.com'

test('searching the answers of one person takes three quarters of the time at most, and that of others waits for nothing', () => {
  let now = 0
  const share = createSearchShare(() => now)
  let searched = 0
  for (const end = now + 60_000; now < end; ) {
    const restMs = share.restMs('alice')
    now += restMs
    if (restMs > 0) continue
    now += 7
    searched += 7
    share.took('alice', 7)
    expect(share.restMs('bob')).toBe(0)
  }
  expect(searched / 60_000).toBeGreaterThan(0.7)
  expect(searched / 60_000).toBeLessThan(0.76)
})

test('what is searched now and then, for less of the time than that, never rests', () => {
  let now = 0
  const share = createSearchShare(() => now)
  for (let round = 0; round < 1_000; round++) {
    now += 10
    share.took('alice', 7)
    expect(share.restMs('alice')).toBe(0)
  }
})

test('a long step is followed by a rest of a third of it, and one in which the machine stood still by a short one', () => {
  let now = 1_000
  const share = createSearchShare(() => now)
  const restAfter = (ms: number) => {
    now += ms
    share.took('alice', ms)
    const restMs = share.restMs('alice')
    now += restMs + 60_000
    return restMs
  }
  expect(restAfter(600)).toBeCloseTo(600 / 3 - 20)
  expect(restAfter(10 * 60_000)).toBeLessThan(400)
})

test('steps run in their order, one after another rests, and what brings them is held meanwhile', async () => {
  const share = createSearchShare(() => performance.now())
  const said: string[] = []
  const source = { pause: () => said.push('pause'), resume: () => said.push('resume') }
  const turns = inTurns(share, 'alice', source)
  turns(() => said.push('first'))
  share.took('alice', 240)
  for (const step of ['second', 'third']) turns(() => said.push(step))
  expect(said).toEqual(['first', 'pause'])
  await expect.poll(() => said).toEqual(['first', 'pause', 'second', 'third', 'resume'])
  await sleep(0)
  turns(() => said.push('fourth'))
  expect(said.at(-1)).toBe('fourth')
})

test.each(['one', 'gzip'])(
  'row 40: an answer that takes long to search comes whole, in turns with others (%s)',
  async (coding) => {
    await using world = await makeWorld()
    // What any secret could begin with, again and again, and enough else that it does not pass for a bomb.
    const beginnings = Array.from({ length: 30_000 }, () => '\\='.repeat(50) + randomBytes(2).toString('hex'))
    const text = `${beginnings.join('')} end ${theSecret}.`
    const up = await world.upstream((req, res) => {
      if (req.url === '/small') return void res.end('small')
      if (coding === 'gzip') res.setHeader('content-encoding', 'gzip')
      res.end(coding === 'gzip' ? gzipSync(text) : text)
    })
    await world.setRules([rule(host, up.port, { inject: injectBearer })])
    const other = await world.addLease({})
    const tunnel = await world.tunnel(host, up.port)
    const small = await world.tunnel(host, up.port, { lease: other.lease })
    const chunks: Buffer[] = []
    tunnel.on('data', (chunk: Buffer) => chunks.push(chunk))
    const ended = new Promise((resolve) => tunnel.once('close', resolve))
    tunnel.write(request(host, up.port, '/large', ['Connection: close']))
    await expect.poll(() => chunks.length).toBeGreaterThan(0)
    expect(await sayAndRead(small, request(host, up.port, '/small'))).toContain('small')
    await ended
    const answer = Buffer.concat(chunks)
      .toString('latin1')
      .replace(/\r\n[0-9a-f]+\r\n/g, '')
    expect(answer.includes(theSecret)).toBe(false)
    expect(answer.includes(`end ${'*'.repeat(theSecret.length)}.`)).toBe(true)
    expect(answer.length).toBeGreaterThan(text.length)
  },
)
