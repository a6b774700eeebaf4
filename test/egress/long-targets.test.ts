import { expect, test } from 'vitest'
import { forwardTarget } from '../../src/egress/request/tuple.ts'
import { mintedAt } from '../../src/egress/secrets/mint/stub.ts'

/** The shortest of some, since a machine may pause. */
const ms = (run: () => unknown) =>
  Math.min(
    ...Array.from({ length: 5 }, () => {
      const from = performance.now()
      run()
      return performance.now() - from
    }),
  )

const asForward = (target: string) =>
  forwardTarget({ method: 'GET', target, httpVersion: '1.1', rawHeaders: ['Host', 'api.example.com'] })

const token = {
  kind: 'oauth_client_credentials' as const,
  client_id: 'orders',
  client_secret: 'ORDERS_SECRET',
  token_url: 'https://login.example.com/token',
  scopes: [],
  client_auth: 'basic' as const,
  parameters: {},
}
const asTokenRequest = (path: string) =>
  mintedAt(
    { TOKEN: token },
    { scheme: 'https', host: 'login.example.com', port: 443, method: 'POST', path, query: '' },
  )

test.each<[what: string, text: string, read: (text: string) => unknown]>([
  ['a fragment behind a long host', `http://${'a'.repeat(16_000)}/#`, asForward],
  ['a fragment behind a long path', `http://a/${'?'.repeat(16_000)}#`, asForward],
  ['slashes in the midst of a path to a token endpoint', `/x${'/'.repeat(16_000)}a`, asTokenRequest],
  ['slashes written in escapes there', `/x${'%2F'.repeat(16_000)}a`, asTokenRequest],
])('row 40: %s is looked at in about the time that going through it takes', (_, text, read) => {
  // Where each place in it was the beginning of another look it took a second, a thousand times as long.
  expect(ms(() => read(text)) / ms(() => Array.from(text).length)).toBeLessThan(40)
})

test('a token endpoint is known by its path however many slashes stand at the end', () => {
  expect(asTokenRequest('/token')).toHaveLength(1)
  expect(asTokenRequest('/TOKEN///')).toHaveLength(1)
  expect(asTokenRequest('/token%2f')).toHaveLength(1)
  expect(asTokenRequest('/token/a')).toEqual([])
  expect(asTokenRequest('//token')).toEqual([])
})
