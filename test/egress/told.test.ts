import { expect, test } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { listen, type Notice } from '../../src/store/index.ts'
import { connectRequest, makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'
import { untilListening } from '../support/listeners.ts'
import { until } from '../support/until.ts'

const host = 'orders.example.com'

test('a refusal is told to the calls in flight of that source, with what to ask an admin, once', async () => {
  await using world = await makeWorld()
  await using notices = listen(world.store, silentLog)
  const told: Extract<Notice, { kind: 'egress_denied' }>[] = []
  notices.on((notice) => {
    if (notice.kind === 'egress_denied') told.push(notice)
  })
  const up = await world.upstream((_req, res) => res.end('never'))
  await world.setRules([rule(host, up.port, { paths: ['/v1'] })])
  const callId = await world.addCall()
  await world.addCall('another')
  const refused = async () => {
    const socket = await world.tunnel(host, up.port)
    const answer = await sayAndRead(socket, request(host, up.port, '/v2?key=s3cr3t'))
    expect(answer).toMatch(/^HTTP\/1\.1 403 /)
  }
  // Until the listener is connected, notices pass it by; the proxy listens too, and tells the same thing once in ten seconds.
  await untilListening(world.store, 2)
  await refused()
  await until(() => told.length > 0)
  await refused()
  const socket = await world.connect()
  await sayAndRead(socket, connectRequest('evil.example.com', 443, 'orders', world.lease))
  await until(() => told.length > 1)
  const cure = `ask an admin: toolcrib egress allow orders GET https://`
  expect(told).toEqual([
    {
      kind: 'egress_denied',
      callIds: [callId],
      sentence: `The egress proxy refused GET https://${host}:${up.port}/v2 (path_not_allowed): ${cure}${host}:${up.port}/v2`,
    },
    {
      kind: 'egress_denied',
      callIds: [callId],
      sentence: `The egress proxy refused CONNECT https://evil.example.com (host_not_allowed): ${cure}evil.example.com`,
    },
  ])
})

test('what was refused is told before the program that asked reads of it, however many ask at once', {
  timeout: 60_000,
}, async () => {
  await using world = await makeWorld()
  await using notices = listen(world.store, silentLog)
  const told = new Set<string>()
  notices.on((notice) => {
    if (notice.kind !== 'egress_denied') return
    for (const callId of notice.callIds) told.add(`${callId} ${notice.sentence.split(' ')[5]}`)
  })
  const up = await world.upstream((_req, res) => res.end('never'))
  await world.setRules([rule(host, up.port, { paths: ['/v1'] })])
  const callId = await world.addCall()
  // The proxy listens as well.
  await untilListening(world.store, 2)
  const missed: string[] = []
  const heard = async (url: string) => {
    await notices.caughtUp()
    if (!told.has(`${callId} ${url}`)) missed.push(url)
  }
  // A person's refusals are written down and told up to 300 in a minute.
  const oneAfterTheOther = async (lane: number) => {
    const socket = await world.tunnel(host, up.port)
    for (let i = 0; i < 20; i += 1) {
      const path = `/no/${lane}/${i}`
      expect(await sayAndRead(socket, request(host, up.port, path))).toMatch(/^HTTP\/1\.1 403 /)
      await heard(`https://${host}:${up.port}${path}`)
      const name = `no-${lane}-${i}.example.com`
      const connected = connectRequest(name, 443, 'orders', world.lease)
      expect(await sayAndRead(await world.connect(), connected)).toMatch(/^HTTP\/1\.1 403 /)
      await heard(`https://${name}`)
    }
  }
  await Promise.all([0, 1, 2, 3, 4, 5, 6].map(oneAfterTheOther))
  expect(missed).toEqual([])
})

test('a refusal names host and port, be it of the rules or of what was let out and came to nothing', async () => {
  await using world = await makeWorld({ dial: () => Promise.reject(new Error('connects nowhere')) })
  world.names.set(host, ['93.184.215.14'])
  await world.setRules([rule(host, 443, { paths: ['/v1'], address: undefined })])
  const told = async (path: string) => {
    const answer = await sayAndRead(await world.tunnel(host, 443), request(host, 443, path))
    return /"reason":"\w+"|"host":"[^"]+"/g[Symbol.match](answer)
  }
  expect(await told('/v2')).toEqual(['"reason":"path_not_allowed"', `"host":"${host}:443"`])
  expect(await told('/v1')).toEqual(['"reason":"upstream_unreachable"', `"host":"${host}:443"`])
})
