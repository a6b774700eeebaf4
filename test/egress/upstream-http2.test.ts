import { constants } from 'node:http2'
import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'
import { startHttp2Upstream } from '../support/http2.ts'

const host = 'orders.example.com'

test('a stream that its upstream refuses is told as not begun, and is sent once', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) =>
    stream.close(constants.NGHTTP2_REFUSED_STREAM),
  )
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  for (const method of ['GET', 'POST']) {
    const answer = await sayAndRead(
      socket,
      request(host, up.port, '/', [], method, method === 'POST' ? 'a' : ''),
    )
    expect(answer).toMatch(/^HTTP\/1\.1 503 [^]*x-toolcrib-denied: upstream_refused/)
  }
  expect(up.seen).toHaveLength(2)
  expect(await world.outcome()).toMatchObject({ failure: 'upstream_refused' })
})

test('an interim answer and then a refusal is a request that may have been acted on', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.additionalHeaders({ ':status': 103 })
    setTimeout(() => stream.close(constants.NGHTTP2_REFUSED_STREAM), 30)
  })
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('upstream_failed')
})
