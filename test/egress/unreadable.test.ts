import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { Secret } from '../../src/core/index.ts'
import { signWithSession } from '../support/armed.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'

const host = 'orders.example.com'

test('a session token of another rule of a host that cannot be opened lets nothing out there', async () => {
  await using world = await makeWorld()
  for (const name of ['AWS_ID', 'AWS_SECRET', 'AWS_SESSION'])
    await world.vault.setCredential({
      name,
      scope: 'global',
      scopeId: '',
      value: new Secret(`${name}-0123456789`),
      by: 'test',
    })
  await world.setRules([rule(host, 443), rule(host, 443, { paths: ['/v1'], sign: signWithSession })])
  await world.store.db
    .updateTable('credentials')
    .set({ sealed: sql<string>`reverse(sealed)` })
    .where('name', '=', 'AWS_SESSION')
    .execute()
  const answer = await sayAndRead(await world.tunnel(host, 443), request(host, 443, '/'))
  expect(answer).toContain('"reason":"credential_unreadable","rule":"egress[0] AWS_SESSION"')
})

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
