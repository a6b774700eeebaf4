import { expect, test } from 'vitest'
import { sourceSpec } from '../../src/catalog/index.ts'

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
