import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'
import { ask, http2Client, pseudoHeaders, startHttp2Upstream } from '../support/http2.ts'

const host = 'orders.example.com'
const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`x-field-${i}`, 'y']))

test('a head of three hundred fields goes through by either version, both ways', async () => {
  await using world = await makeWorld()
  const byOld = await world.upstream((_req, res) =>
    res.writeHead(200, { ...many, 'content-length': '0' }).end(),
  )
  await using byNew = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200, ...many })
    stream.end()
  })
  await world.setRules([rule(host, byOld.port), rule(host, byNew.port)])
  for (const { port } of [byOld, byNew]) {
    const fields = { ...Object.fromEntries(pseudoHeaders(host, port)), ...many }
    const client = http2Client(await world.tunnel(host, port, { protocols: ['h2'] }))
    const answer = await ask(client, fields)
    expect([answer.status, answer.code]).toEqual([200, 0])
    const lines = Object.entries(many).map(([name, value]) => `${name}: ${value}`)
    const told = await sayAndRead(await world.tunnel(host, port), request(host, port, '/', lines))
    expect(told).toMatch(/^HTTP\/1\.1 200 [^]*x-field-299: y/)
  }
})
