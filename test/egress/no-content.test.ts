import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'
import { ask, http2Client } from '../support/http2.ts'

/** Answers that say by their status that they have no content, from upstreams that give them some. */

const host = 'orders.example.com'

test.each([
  [
    '205 with a body in pieces',
    205,
    [
      'HTTP/1.1 205 R\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n',
      '1\r\nb\r\n0\r\n\r\n',
    ],
  ],
  ['205 with a length', 205, ['HTTP/1.1 205 R\r\nconnection: close\r\ncontent-length: 3\r\n\r\n', 'abc']],
  ['204 with a length', 204, ['HTTP/1.1 204 N\r\nconnection: close\r\ncontent-length: 5\r\n\r\n']],
])('%s arrives without content, and its place is given back', async (_, status, pieces) => {
  await using world = await makeWorld({ limits: { requestsPerPrincipal: 1 } })
  const up = await world.upstream((_req, res) => {
    const [first = '', second] = pieces
    res.socket?.write(first)
    if (second !== undefined) setTimeout(() => res.socket?.write(second), 50)
  })
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const fields = { ':method': 'GET', ':scheme': 'https', ':authority': `${host}:${up.port}`, ':path': '/' }
  const answer = await ask(client, fields)
  expect([answer.status, answer.code, answer.body, answer.headers['content-length']]).toEqual([
    status,
    0,
    '',
    undefined,
  ])
  await world.outcome()
  const tunnel = await world.tunnel(host, up.port)
  const told = await sayAndRead(tunnel, request(host, up.port, '/'))
  expect(told).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  expect(told).not.toMatch(/content-length: [1-9]|[abc]\r?\n?$/i)
})
