import { expect, test } from 'vitest'
import { parseSlot, queryKey, slotsOverlap, sourceSpec } from '../../src/catalog/index.ts'

const rule = { host: 'api.example.com', methods: ['GET'], paths: ['/'] }

function problems(spec: object): string[] {
  const parsed = sourceSpec.safeParse({ kind: 'stdio', command: 'true', ...spec })
  return parsed.success ? [] : parsed.error.issues.map((one) => `${one.path.join('.')}: ${one.message}`)
}

test('what cannot be meant of a binding is refused when it is written, all of it at once, with what would work', () => {
  const found = problems({
    // The one may be meant by a rule that cannot be read, the other is named by none at all.
    environment: { MEANT: '${placeholder:A}', KEY: '${placeholder:NOBODY}' },
    egress: [
      { ...rule, inject: [{ credential: 'A', header: 'authorization' }] },
      { ...rule, inject: [{ credential: 'A', into: 'cookie:a' }] },
      { ...rule, inject: [{ credential: 'A', into: 'header:X-Api-Key' }] },
      { ...rule, inject: [{ credential: 'A', into: 'header:transfer-encoding' }] },
      { ...rule, inject: [{ credential: 'A', into: 'header:x', format: 'Bearer' }] },
    ],
  })
  expect(found).toHaveLength(7)
  expect(found[6]).toMatch(/^environment\.KEY: \$\{placeholder:NOBODY\}: no rule of this source has/)
  expect(found[3]).toMatch(/into: write the header in lower case: header:x-api-key$/)
  expect(found.join('\n')).toMatch(/header:<name>, basic, query:<name>, path:<number of the segment>/)
  expect(found.join('\n')).toMatch(/of the proxy are not for rules/)
  expect(found.join('\n')).toMatch(/write \{value\} once/)
})

test('two credentials in one place, one in clear text, and a stand-in that nobody replaces are refused', () => {
  const bind = (...slots: string[]) => slots.map((into, i) => ({ credential: `K${i}`, into }))
  const found = problems({
    environment: { KEY: '${placeholder:NOBODY}', OTHER: '${placeholder:K9}' },
    egress: [
      { ...rule, paths: ['/1'], inject: bind('header:authorization', 'basic') },
      { ...rule, paths: ['/2'], inject: bind('query:api_key', 'query:Api.Key') },
      { ...rule, methods: ['POST'], inject: bind('body:/auth', 'body:/auth/key') },
      {
        ...rule,
        methods: ['POST'],
        paths: ['/body'],
        inject: bind('path:1', 'path:2', 'query:a', 'header:x-a', 'header:x-b', 'body:/a', 'body:/b'),
      },
      { ...rule, paths: ['/4'], scheme: 'http', inject: bind('header:x-a') },
      { ...rule, paths: ['/5'], inject: [{ credential: 'K9', into: 'header:x-a', placeholder: true }] },
    ],
  })
  expect(found.map((one) => one.split(':')[0])).toEqual([
    'environment.KEY',
    'egress.0.inject.1.into',
    'egress.1.inject.1.into',
    'egress.2.inject.1.into',
    'egress.4.inject',
  ])
  expect(found[1]).toContain('K1 would stand where K0 does')
})

test('what is injected without a stand-in has none in the environment, whatever cannot be read beside it', () => {
  const inject = [{ credential: 'KEY', into: 'header:x-key' }]
  expect(
    problems({
      environment: { KEY: '${placeholder:KEY}', OTHER: '${placeholder:OTHER}' },
      egress: [
        { ...rule, inject },
        { ...rule, methods: ['get'], inject: [{ credential: 'OTHER', into: 'basic', placeholder: true }] },
      ],
    }),
  ).toEqual([
    'egress.1.methods.0: write GET',
    'environment.KEY: ${placeholder:KEY}: no rule of this source has `placeholder: true` for it',
  ])
})

test.each([
  [{ command: '' }, 'command'],
  [{ timeout_seconds: 0 }, 'timeout_seconds'],
  [{ timeout_seconds: 1.5 }, 'timeout_seconds'],
  [{ timeout_seconds: 3_601 }, 'timeout_seconds'],
  [{ egress_warn_until: '2026-12-01' }, 'egress_warn_until'],
  [{ egress_warn_until: '2026-12-01T18:00:00' }, 'egress_warn_until'],
])('a source is refused with %j', (extra, place) => {
  expect(problems(extra)).toEqual([expect.stringContaining(`${place}: `)])
  expect(problems({ timeout_seconds: 3_600, egress_warn_until: '2026-12-01T18:00:00+01:00' })).toEqual([])
})

test.each([
  ['basic', { kind: 'basic' }],
  ['header:x-api-key2', { kind: 'header', name: 'x-api-key2' }],
  ['query:Api_key.v1~-', { kind: 'query', name: 'Api_key.v1~-' }],
  ['path:1', { kind: 'path', segment: 1 }],
  ['path:99', { kind: 'path', segment: 99 }],
  ['body:/auth/key', { kind: 'body', pointer: ['auth', 'key'] }],
  ['body:/', { kind: 'body', pointer: [''] }],
  // RFC 6901: a slash and a tilde of a name are written out, and what stands for a tilde begins no other.
  ['body:/a~1b/~0/~01', { kind: 'body', pointer: ['a/b', '~', '~1'] }],
])('%s is a place for a credential', (text, slot) => {
  expect(parseSlot(text)).toEqual(slot)
})

test.each([
  '',
  'basic:',
  'Basic',
  'cookie:a',
  'header:',
  'header:X-Key',
  'header:x key',
  'header:x:y',
  'header:x-key\n',
  'header:proxy-x',
  'header:content-type',
  'header:content-encoding',
  // Of one connection, of the framing, or what the proxy answers itself.
  ...[
    'connection',
    'keep-alive',
    'proxy-connection',
    'proxy-authorization',
    'te',
    'trailer',
    'transfer-encoding',
    'content-length',
    'upgrade',
    'host',
    'expect',
  ].map((name) => `header:${name}`),
  // With these an answer could not be searched.
  ...[
    'accept-encoding',
    'grpc-accept-encoding',
    'connect-accept-encoding',
    'range',
    'if-range',
    'request-range',
  ].map((name) => `header:${name}`),
  'query:',
  'query:a b',
  'query:a=b',
  'query:a[b]',
  'query:a%20',
  'path:',
  'path:0',
  'path:01',
  'path:100',
  'path:-1',
  'path:1x',
  'body:',
  'body:key',
  'body:key/a',
  'body:/a~',
  'body:/a~2',
])('%j is no place for a credential', (text) => {
  expect(parseSlot(text)).toBeUndefined()
})

test.each([
  ['header:x-a', 'header:x-a', true],
  ['header:x-a', 'header:x-b', false],
  ['basic', 'basic', true],
  ['basic', 'header:authorization', true],
  ['basic', 'header:x-a', false],
  ['query:key', 'query:Key', true],
  ['query:key', 'query:token', false],
  ['path:1', 'path:1', true],
  ['path:1', 'path:2', false],
  ['body:/a', 'body:/a', true],
  ['body:/a', 'body:/a/b/c', true],
  ['body:/a/b', 'body:/a/c', false],
  ['body:/a~1b', 'body:/a/b', false],
  ['query:a', 'header:a', false],
  ['path:1', 'query:a', false],
  ['body:/a', 'query:a', false],
  ['body:/a', 'path:1', false],
])('of %s and %s one would stand where the other does: %s', (one, other, overlap) => {
  const [a, b] = [parseSlot(one), parseSlot(other)]
  if (a === undefined || b === undefined) throw new Error('no slot')
  expect([slotsOverlap(a, b), slotsOverlap(b, a)]).toEqual([overlap, overlap])
})

test('what one server or another takes for the same parameter has one key', () => {
  const same = ['api_key', 'API_KEY', 'api.key', 'api key', ' api_key ', 'api_key[]', 'api_key[a][b]']
  expect(new Set(same.map(queryKey))).toEqual(new Set(['api_key']))
  expect(queryKey('api-key')).toBe('api-key')
})

test.each([
  [{ credential: 'orders_key' }, 'credential'],
  [{ credential: '1KEY' }, 'credential'],
  [{ credential: 'A-KEY' }, 'credential'],
  [{ credential: 'KEY\n' }, 'credential'],
  [{ format: 'Bearer {value}\r\nx-more: 1' }, 'format'],
  [{ format: 'é{value}' }, 'format'],
  [{ format: '{value}{value}' }, 'format'],
  [{ prefix: '' }, 'prefix'],
  [{ prefix: 'a b' }, 'prefix'],
  [{ prefix: 'sk/' }, 'prefix'],
  [{ prefix: 'a'.repeat(25) }, 'prefix'],
  [{ at_most: 0 }, 'at_most'],
  [{ at_most: 1.5 }, 'at_most'],
  [{ at_most: 9 }, 'at_most'],
])('a binding is refused with %j', (extra, place) => {
  const bound = (more: object) =>
    problems({ egress: [{ ...rule, inject: [{ credential: 'KEY', into: 'header:x-key', ...more }] }] })
  expect(bound(extra)).toEqual([expect.stringContaining(`egress.0.inject.0.${place}: `)])
  expect(bound({ format: 'Key "{value}"', prefix: 'a'.repeat(24), at_most: 8 })).toEqual([])
})
