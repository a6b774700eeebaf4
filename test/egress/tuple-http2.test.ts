import { expect, test } from 'vitest'
import { http2Fields, http2Target } from '../../src/egress/request/tuple-http2.ts'

/** Node's parser resets most of this before there is a request: here it meets our own reading of it. */
const at = { host: 'api.example.com', port: 443 }
const good = [':method', 'GET', ':scheme', 'https', ':authority', 'api.example.com', ':path', '/v1']
const without = (name: string) => good.flatMap((each, i) => (good[i - (i % 2)] === name ? [] : [each]))

test('a request in the form of RFC 9113 is read as one by HTTP/1.1 is', () => {
  const fields = http2Fields([...good, 'accept', '*/*', 'te', 'trailers', 'cookie', 'a=1', 'cookie', 'b=2'])
  expect(fields.wellFormed).toBe(true)
  expect(fields.regular).toEqual(['accept', '*/*', 'te', 'trailers', 'cookie', 'a=1; b=2'])
  expect(http2Target(fields, at, false)).toMatchObject({
    ok: true,
    tuple: { scheme: 'https', host: at.host, port: at.port, method: 'GET', path: '/v1' },
  })
})

const malformed: [string, string[]][] = [
  ['a name without a value', [...good, 'x']],
  ['a repeated :method', [...good, ':method', 'DELETE']],
  ['a repeated :scheme', [...good, ':scheme', 'https']],
  ['a repeated :authority', [...good, ':authority', 'evil.example.com']],
  ['a repeated :path', [...good, ':path', '/admin']],
  ['an unknown pseudo-header field', [...good, ':hidden', '1']],
  ['the pseudo-header field of an answer', [...good, ':status', '200']],
  ['a pseudo-header field behind another field', [...without(':path'), 'x', '1', ':path', '/v1']],
  ['an upper-case name', [...good, 'X-Upper', '1']],
  ['an empty name', [...good, '', '1']],
  ['a name with a space', [...good, 'x y', '1']],
  ['a name with a colon', [...good, 'x:y', '1']],
  ['a name with a line break', [...good, 'x\r\ny', '1']],
  ['a value with a line break', [...good, 'x', '1\r\nhost: evil.example.com']],
  ['a value with NUL', [...good, 'x', '1\0']],
  ['a value with DEL', [...good, 'x', '1\x7f']],
  ['a value that begins with a space', [...good, 'x', ' 1']],
  ['a value that ends with a tab', [...good, 'x', '1\t']],
  ['a :path with a line break', [...without(':path'), ':path', '/ HTTP/1.1\r\nx: y']],
  ['te that is not trailers', [...good, 'te', 'gzip']],
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'http2-settings'].map(
    (name): [string, string[]] => [`${name}, which belongs to one hop`, [...good, name, 'x']],
  ),
]

test.each(malformed)('%s makes a request malformed, and it is refused', (_, raw) => {
  const fields = http2Fields(raw)
  expect(fields.wellFormed).toBe(false)
  expect(http2Target(fields, at, false)).toEqual({ ok: false, reason: 'http2_malformed' })
})

test('of a repeated pseudo-header field the first is what the refusal is recorded with', () => {
  const { pseudo } = http2Fields([...good, ':path', '/admin', ':authority', 'evil.example.com'])
  expect([pseudo.get(':path'), pseudo.get(':authority')]).toEqual(['/v1', 'api.example.com'])
})

test.each([
  ['no :method', without(':method'), 'http2_malformed'],
  ['no :path', without(':path'), 'http2_malformed'],
  ['no :scheme', without(':scheme'), 'http2_malformed'],
  ['http as its scheme', [...without(':scheme'), ':scheme', 'http'], 'http2_malformed'],
  ['no :authority', without(':authority'), 'host_missing'],
  ['no :authority but a host', [...without(':authority'), 'host', 'api.example.com'], 'host_missing'],
  ['another :authority', [...without(':authority'), ':authority', 'evil.example.com'], 'host_mismatch'],
  [
    'another :authority beside a good host',
    [...without(':authority'), ':authority', 'evil.example.com', 'host', 'api.example.com'],
    'host_mismatch',
  ],
  ['a host of elsewhere', [...good, 'host', 'evil.example.com'], 'host_mismatch'],
  ['two hosts', [...good, 'host', 'api.example.com', 'host', 'api.example.com'], 'host_duplicate'],
  ['extended CONNECT', [...good, ':protocol', 'websocket'], 'upgrade_unsupported'],
  ['CONNECT', [':method', 'CONNECT', ':authority', 'api.example.com'], 'connect_in_tunnel'],
] as const)('a request with %s is refused', (_, raw, reason) => {
  expect(http2Target(http2Fields([...raw]), at, false)).toEqual({ ok: false, reason })
})

test.each([
  ['GET', 'body_forbidden'],
  ['HEAD', 'body_forbidden'],
  ['POST', 'ok'],
  ['DELETE', 'ok'],
] as const)('a %s whose head does not end the stream: %s', (method, expected) => {
  const read = http2Target(http2Fields([':method', method, ...without(':method')]), at, true)
  expect(read.ok ? 'ok' : read.reason).toBe(expected)
})
