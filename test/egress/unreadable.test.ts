import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { injectBearer, makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'

const host = 'orders.example.com'

test.each([
  ['put into a request', { inject: injectBearer }],
  [
    'signed with',
    {
      sign: {
        kind: 'hmac',
        key: 'ORDERS_KEY',
        algorithm: 'sha256',
        message: '{path}',
        headers: { 'x-signature': '{signature}' },
      },
    },
  ],
  ['shown in TLS', { client_certificate: 'ORDERS_KEY' }],
])('a credential that is %s and cannot be opened is in the log, by its name', async (_what, how) => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 443, how)])
  await world.store.db.updateTable('credentials').set({ sealed: sql<string>`reverse(sealed)` }).execute()
  const answer = await sayAndRead(await world.tunnel(host, 443), request(host, 443, '/'))
  expect(answer).toContain('"reason":"credential_unreadable"')
  const said = world
    .logged()
    .split('\n')
    .filter((line) => line.includes('credential cannot be opened'))
  expect(JSON.parse(said[0] ?? '{}')).toMatchObject({ credential: 'ORDERS_KEY' })
})
