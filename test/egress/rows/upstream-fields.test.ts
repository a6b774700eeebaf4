import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead } from '../../support/egress-world.ts'
import { frame, frameFlag, frameType, headerBlock } from '../../support/http2.ts'
import { startRawHttp2 } from '../../support/raw-http2.ts'

/** Fields that HTTP/2 can write and must not have (RFC 9113 section 8): by HTTP/1.1 they would be others, or frame. */

const host = 'orders.example.com'

const odd: [string, [string, string]][] = [
  ['a line break in a value', ['x-a', 'a\r\nset-cookie: evil=1']],
  ['a line feed in a value', ['x-a', 'a\nset-cookie: evil=1']],
  ['a carriage return in a value', ['x-a', 'a\rset-cookie: evil=1']],
  ['NUL in a value', ['x-a', 'a\0evil']],
  ['a line break in a name', ['x-a\r\nset-cookie', 'evil=1']],
  ['a whole field in a name', ['x-a: b\r\nset-cookie', 'evil=1']],
  ['a colon in a name', ['x-a:b', 'evil']],
  ['a space in a name', ['x a', 'evil']],
  ['no name', ['', 'evil']],
  ['an upper-case name', ['X-A', 'evil']],
  ['a transfer coding', ['transfer-encoding', 'chunked, evil']],
  ['options of a connection', ['connection', 'evil']],
  ['an upgrade', ['upgrade', 'evil']],
  ['a pseudo-header field of requests', [':path', '/evil']],
  ['a second status', [':status', '404 evil']],
  ['a length that is none', ['content-length', '5, evil']],
]
const places = ['the head', 'an interim head', 'the trailers'] as const

test.each(places)('row 19: what is no field of HTTP/2 gets nothing into an answer from %s', async (place) => {
  await using world = await makeWorld()
  let field: [string, string] = ['', '']
  const head = (stream: number, fields: [string, string][], flags = 0) =>
    frame(frameType.headers, frameFlag.endHeaders | flags, stream, headerBlock(fields))
  using up = await startRawHttp2(world, ({ socket, stream }) => {
    const more = (at: (typeof places)[number]) => (at === place ? [field] : [])
    const interim: [string, string][] = [[':status', '103'], ...more('an interim head')]
    socket.write(
      Buffer.concat([
        ...(place === 'an interim head' ? [head(stream, interim)] : []),
        head(stream, [[':status', '200'], ['trailer', 'x-a, x-t'], ...more('the head')]),
        frame(frameType.data, 0, stream, Buffer.from('whole')),
        head(stream, [['x-t', '1'], ...more('the trailers')], frameFlag.endStream),
      ]),
    )
  })
  await world.setRules([rule(host, up.port)])
  for (const [what, written] of odd) {
    field = written
    const socket = await world.tunnel(host, up.port)
    const text = await sayAndRead(socket, request(host, up.port, '/'))
    socket.destroy()
    expect([what, text]).toEqual([what, expect.stringMatching(/^HTTP\/1\.1 200 |^HTTP\/1\.1 502 |^$/)])
    expect([what, text]).toEqual([what, expect.not.stringMatching(/evil/)])
  }
  field = ['x-b', 'good']
  const text = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))
  expect(text).toMatch(place === 'an interim head' ? /whole/ : /x-b: good/)
})
