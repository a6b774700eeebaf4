import type { QueryConfig } from 'pg'
import { expect, test } from 'vitest'
import { composeKey, mintKeyId, mintSecret } from '../../src/access/token.ts'
import { Secret, type TokenId } from '../../src/core/index.ts'
import { listEvents, type Store } from '../../src/store/index.ts'
import { alice, bob, handClock, home, testAccess } from '../support/access.ts'
import { testStore } from '../support/database.ts'

const by = 'test'

/** A whole token of this id whose secret is wrong. */
const forged = (id: TokenId) => composeKey('tcb', id.slice(4), mintSecret()).reveal()
const invented = () => composeKey('tcb', mintKeyId(), mintSecret()).reveal()
const code = (wanted: string) => ({ code: wanted })

/** The same store, and the names of the prepared statements that were asked on its pool. */
function counting(store: Store) {
  const asked: string[] = []
  const pool = new Proxy(store.pool, {
    get(target, name) {
      if (name !== 'query') return Reflect.get(target, name, target)
      return (query: QueryConfig) => {
        asked.push(query.name ?? query.text)
        return target.query(query)
      }
    },
  })
  return { counted: { ...store, pool }, asked }
}

async function person(store: Store) {
  const access = testAccess(store)
  const principal = await access.ensurePrincipal(alice)
  const token = await access.issue({ principalId: principal.id, by })
  return { access, principal, id: token.id, text: token.token.reveal() }
}

test('a right token tells who calls, with what toolkit, and under which catalog version', async () => {
  await using store = await testStore()
  const { access, principal, id, text } = await person(store)
  await using _ = access
  const caller = await access.verify(text, home)
  expect(caller).toMatchObject({
    principalId: principal.id,
    principalName: 'Alice',
    tokenId: id,
    toolkit: null,
  })
  expect(caller.catalogVersion).toBe(1)
  await store.pool.query('UPDATE catalog_state SET version = version + 1')
  expect((await access.verify(text, home)).catalogVersion).toBe(2)
})

test('a known token costs one query and no argon2; a first one is checked once for all who came with it', async () => {
  await using store = await testStore()
  const { access, text } = await person(store)
  await using _ = access
  const { counted, asked } = counting(store)
  await using other = testAccess(counted)
  await Promise.all(Array.from({ length: 20 }, () => other.verify(text, home)))
  expect(asked.filter((name) => name === 'token_touch')).toHaveLength(1)
  asked.length = 0
  await other.verify(text, home)
  expect(asked).toEqual(['token_state'])
})

test('invariant 5: a token revoked, reissued or deactivated on one replica is refused by the next request on another', async () => {
  await using store = await testStore()
  const { access: one, principal, text, id } = await person(store)
  await using two = testAccess(store)
  await two.verify(text, home)
  await one.revoke(id, by, 'lost')
  await expect(two.verify(text, home)).rejects.toMatchObject(code('token_revoked'))

  const first = await one.issue({ principalId: principal.id, by, requestKey: 'k' })
  await two.verify(first.token.reveal(), home)
  const second = await one.issue({ principalId: principal.id, by, requestKey: 'k' })
  await expect(two.verify(first.token.reveal(), home)).rejects.toMatchObject(code('token_unknown'))
  await two.verify(second.token.reveal(), home)

  await store.db.updateTable('tokens').set({ expires_at: new Date() }).where('id', '=', second.id).execute()
  await expect(two.verify(second.token.reveal(), home)).rejects.toMatchObject(code('token_expired'))

  const third = await one.issue({ principalId: principal.id, by })
  await two.verify(third.token.reveal(), home)
  await one.deactivate(principal.id, by, 'left')
  await expect(two.verify(third.token.reveal(), home)).rejects.toMatchObject(code('principal_deactivated'))
  await one.reactivate(principal.id, by)
  // Reactivation does not bring back what was revoked.
  await expect(two.verify(third.token.reveal(), home)).rejects.toMatchObject(code('token_revoked'))
  await one[Symbol.asyncDispose]()
})

test('a typo is told from a forgery, and what a row says is told only to who holds the secret', async () => {
  await using store = await testStore()
  const { access, id, text } = await person(store)
  await using _ = access
  await access.revoke(id, by, 'lost')
  await expect(access.verify(text.slice(0, -1), home)).rejects.toMatchObject(code('token_malformed'))
  await expect(access.verify(text.slice(0, -1), home)).rejects.toThrow(/66 characters.*65 characters came/)
  await expect(access.verify('', home)).rejects.toMatchObject(code('token_malformed'))
  await expect(access.verify(forged(id), home)).rejects.toMatchObject(code('token_unknown'))
  await expect(access.verify(invented(), home)).rejects.toMatchObject(code('token_unknown'))
  await expect(access.verify(text, home)).rejects.toMatchObject(code('token_revoked'))
})

test('wrong tokens are limited by address, and a right one from that address still works, known or not', async () => {
  await using store = await testStore()
  const { access, text, principal } = await person(store)
  await using _ = access
  await access.verify(text, home)
  for (let i = 0; i < 20; i++) {
    await expect(access.verify(invented(), home)).rejects.toMatchObject(code('token_unknown'))
  }
  await expect(access.verify(invented(), home)).rejects.toMatchObject(code('rate_limited'))
  await access.verify(text, home)
  const fresh = await access.issue({ principalId: principal.id, by })
  await access.verify(fresh.token.reveal(), home)
  // Another address is not concerned.
  await expect(access.verify(invented(), { ...home, address: '192.0.2.8' })).rejects.toMatchObject(
    code('token_unknown'),
  )
})

test('guesses at one token are limited, from a thousand addresses or all at once, and its owner is not locked out', async () => {
  await using store = await testStore()
  const { access, id, text } = await person(store)
  await access.verify(text, home)
  await access[Symbol.asyncDispose]()

  const clock = handClock()
  await using attacked = testAccess(store, { clock })
  const guesses = await Promise.allSettled(
    Array.from({ length: 40 }, (_, i) =>
      attacked.verify(forged(id), { address: `10.0.${i}.1`, client: null }),
    ),
  )
  const codes = guesses.map((guess) =>
    guess.status === 'rejected' ? (guess.reason as { code: string }).code : 'in',
  )
  const tried = codes.filter((guess) => guess === 'token_unknown').length
  expect(tried).toBeGreaterThanOrEqual(10)
  // Two run at once, and both may have begun when the tenth failed.
  expect(tried).toBeLessThanOrEqual(12)
  expect(codes.filter((guess) => guess === 'rate_limited')).toHaveLength(40 - tried)
  // Elsewhere the right token would have to wait as well; where it was last used it gets in, and is known then.
  const elsewhere = { address: '203.0.113.9', client: null }
  await expect(attacked.verify(text, elsewhere)).rejects.toMatchObject(code('rate_limited'))
  await attacked.verify(text, { ...home, address: '192.0.2.200' })
  await attacked.verify(text, elsewhere)
  // The bucket fills again with time.
  await expect(attacked.verify(forged(id), elsewhere)).rejects.toMatchObject(code('rate_limited'))
  clock.forward(60_000)
  await expect(attacked.verify(forged(id), elsewhere)).rejects.toMatchObject(code('token_unknown'))
})

test('look-ups by one address are bounded before they reach the database, but not for a known token', async () => {
  await using store = await testStore()
  const { access: issuer, text } = await person(store)
  await using _ = issuer
  const { counted, asked } = counting(store)
  await using access = testAccess(counted, { clock: handClock() })
  await access.verify(text, home)
  await Promise.allSettled(Array.from({ length: 600 }, () => access.verify(invented(), home)))
  asked.length = 0
  await expect(access.verify(invented(), home)).rejects.toMatchObject(code('rate_limited'))
  expect(asked).toEqual([])
  await access.verify(text, home)
})

test('refusals are audited with their code, at most ten a minute for an address', async () => {
  await using store = await testStore()
  const { access, id, principal } = await person(store)
  await using _ = access
  await expect(access.verify(forged(id), home)).rejects.toThrow('not known here')
  for (let i = 0; i < 30; i++)
    await expect(access.verify('tcb_nonsense', home)).rejects.toThrow('12 characters')
  await expect(access.verify(invented(), { ...home, address: '2001:db8::1' })).rejects.toThrow(
    'not known here',
  )
  const events = await listEvents(store.db, { kind: 'token.refused', limit: 100 })
  expect(events.filter((event) => event.data.address === home.address)).toHaveLength(10)
  expect(events.at(-1)).toMatchObject({
    tokenId: id,
    principalId: principal.id,
    data: { code: 'token_unknown', address: home.address },
  })
  expect(events[0]).toMatchObject({ tokenId: null, principalId: null, data: { code: 'token_unknown' } })
})

test('last use is written once a minute, coarsely, and never fails a request', async () => {
  await using store = await testStore()
  const { access: issuer, id, text } = await person(store)
  await using _ = issuer
  const clock = handClock()
  const access = testAccess(store, { clock })
  await access.verify(text, { address: '192.0.2.7', client: `evil\u001b[31m${'x'.repeat(300)}` })
  await access[Symbol.asyncDispose]()
  const first = await access.findToken(id)
  expect(first).toMatchObject({ lastUsedAddress: '192.0.2.0/24' })
  expect(first?.lastUsedClient).toBe(`evil[31m${'x'.repeat(92)}`)
  await access.verify(text, { address: '2001:db8:1:2::3', client: null })
  await access[Symbol.asyncDispose]()
  expect(await access.findToken(id)).toEqual(first)
  clock.forward(61_000)
  await store.db
    .updateTable('tokens')
    .set({ last_used_at: new Date(Date.now() - 61_000) })
    .execute()
  await access.verify(text, { address: '2001:db8:1:2::3', client: null })
  await access[Symbol.asyncDispose]()
  expect(await access.findToken(id)).toMatchObject({
    lastUsedAddress: '2001:db8:1::/48',
    lastUsedClient: null,
  })
})

test('a new pepper makes new hashes while the old one still verifies; a lost pepper is our fault, not the token’s', async () => {
  await using store = await testStore()
  const { access, text } = await person(store)
  await using _ = access
  const old = { id: 'p1', value: new Secret('first pepper') }
  const next = { id: 'p2', value: new Secret('second pepper') }
  await using rotated = testAccess(store, { peppers: [next, old] })
  await rotated.verify(text, home)
  const other = await rotated.ensurePrincipal(bob)
  const fresh = await rotated.issue({ principalId: other.id, by })
  await expect(access.verify(fresh.token.reveal(), home)).rejects.toMatchObject(code('unavailable'))
  await using forgetful = testAccess(store, { peppers: [next] })
  await forgetful.verify(fresh.token.reveal(), home)
  await expect(forgetful.verify(text, home)).rejects.toMatchObject(code('unavailable'))
  await using wrong = testAccess(store, { peppers: [{ id: 'p1', value: new Secret('another') }] })
  await expect(wrong.verify(text, home)).rejects.toMatchObject(code('token_unknown'))
})

test('a database that cannot be asked refuses for now and says so, without foreign text', async () => {
  await using store = await testStore()
  const { access, text } = await person(store)
  await using _ = access
  await access.verify(text, home)
  await store.pool.query('ALTER TABLE catalog_state RENAME TO away')
  await expect(access.verify(text, home)).rejects.toMatchObject({
    code: 'unavailable',
    message: 'Your token cannot be checked right now. Try again in 5 seconds.',
  })
})
