import { expect, test } from 'vitest'
import type { Head } from '../../src/egress/request/head.ts'
import { provesHandshake, webSocketAccept, webSocketTarget } from '../../src/egress/request/websocket.ts'

const at = { host: 'api.example.com', port: 443 }
const key = 'dGhlIHNhbXBsZSBub25jZQ=='
const fields: Record<string, string> = {
  Host: 'api.example.com',
  Upgrade: 'websocket',
  Connection: 'keep-alive, Upgrade',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': key,
}
const ask = (
  over: Record<string, string | undefined> = {},
  head: Partial<Head> = {},
  more: string[] = [],
) => {
  const rawHeaders = Object.entries({ ...fields, ...over }).flatMap(([name, value]) =>
    value === undefined ? [] : [name, value],
  )
  return webSocketTarget(
    { method: 'GET', target: '/live?x', httpVersion: '1.1', rawHeaders: [...rawHeaders, ...more], ...head },
    at,
  )
}

test('row 18: a handshake as RFC 6455 writes it names its tuple and the answer that proves it', () => {
  expect(webSocketAccept(key)).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  expect(ask({ 'Sec-WebSocket-Protocol': 'chat, graphql-ws', Upgrade: 'WebSocket' })).toEqual({
    ok: true,
    tuple: { scheme: 'https', ...at, method: 'WEBSOCKET', path: '/live', query: '?x' },
    handshake: { key, accept: 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', protocols: ['chat', 'graphql-ws'] },
  })
})

test('row 18: a handshake may offer what kubectl offers to forward a port, which is no token', () => {
  expect(ask({ 'Sec-WebSocket-Protocol': 'SPDY/3.1+portforward.k8s.io' })).toMatchObject({
    ok: true,
    handshake: { protocols: ['SPDY/3.1+portforward.k8s.io'] },
  })
})

test.each<[string, ReturnType<typeof ask>, string]>([
  ['another protocol', ask({ Upgrade: 'h2c' }), 'upgrade_unsupported'],
  ['a choice of protocols', ask({ Upgrade: 'h2c, websocket' }), 'upgrade_unsupported'],
  ['Upgrade twice', ask({}, {}, ['upgrade', 'websocket']), 'upgrade_unsupported'],
  ['h2c beside it', ask({ 'HTTP2-Settings': 'AAMAAABkAAQAAP__' }), 'upgrade_unsupported'],
  ['a Connection that does not name it', ask({ Connection: 'keep-alive' }), 'websocket_malformed'],
  ['another version', ask({ 'Sec-WebSocket-Version': '8' }), 'websocket_malformed'],
  ['two versions', ask({}, {}, ['Sec-WebSocket-Version', '13']), 'websocket_malformed'],
  ['no key', ask({ 'Sec-WebSocket-Key': undefined }), 'websocket_malformed'],
  ['a short key', ask({ 'Sec-WebSocket-Key': 'AAAA' }), 'websocket_malformed'],
  ['two keys', ask({}, {}, ['Sec-WebSocket-Key', key]), 'websocket_malformed'],
  ['POST', ask({}, { method: 'POST' }), 'websocket_malformed'],
  ['HTTP/1.0', ask({}, { httpVersion: '1.0' }), 'websocket_malformed'],
  ['a protocol that is no token', ask({ 'Sec-WebSocket-Protocol': 'a b' }), 'websocket_malformed'],
  ['a protocol twice', ask({ 'Sec-WebSocket-Protocol': 'chat, chat' }), 'websocket_malformed'],
  ['a body', ask({ 'Content-Length': '3' }), 'body_forbidden'],
  ['another Host', ask({ Host: 'evil.example.com' }), 'host_mismatch'],
  ['dot segments', ask({}, { target: '/a/../b' }), 'path_ambiguous'],
  ['a method override', ask({ 'X-HTTP-Method-Override': 'DELETE' }), 'override_forbidden'],
])('row 18: a handshake with %s is refused', (_, result, reason) => {
  expect(result).toEqual({ ok: false, reason })
})

const proof: Record<string, string> = {
  Upgrade: 'WebSocket',
  Connection: 'keep-alive, upgrade',
  'Sec-WebSocket-Accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
  'Sec-WebSocket-Protocol': 'chat',
}
const proves = (over: Record<string, string>, more: string[] = [], status = 101) =>
  provesHandshake(
    { key, accept: 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=', protocols: ['chat', 'graphql-ws'] },
    { status, rawHeaders: [...Object.entries({ ...proof, ...over }).flat(), ...more] },
  )

test.each<[string, boolean]>([
  ['another status', proves({}, [], 200)],
  ['another protocol', proves({ Upgrade: 'h2c' })],
  ['Upgrade twice', proves({}, ['upgrade', 'websocket'])],
  ['a Connection that does not name it', proves({ Connection: 'keep-alive' })],
  ['the digest of another key', proves({ 'Sec-WebSocket-Accept': webSocketAccept('another') })],
  ['two digests', proves({}, ['sec-websocket-accept', 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='])],
  ['a subprotocol that was not offered', proves({ 'Sec-WebSocket-Protocol': 'other' })],
  ['two subprotocols', proves({}, ['Sec-WebSocket-Protocol', 'graphql-ws'])],
  ['an extension', proves({ 'Sec-WebSocket-Extensions': 'permessage-deflate' })],
])('row 18: an answer with %s does not prove that the handshake was read and meant', (_, isProof) => {
  expect(proves({})).toBe(true)
  expect(isProof).toBe(false)
})
