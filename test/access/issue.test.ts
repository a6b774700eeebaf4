import { expect, test } from 'vitest'
import { newId, type PrincipalId, silentLog, type TokenId } from '../../src/core/index.ts'
import { listEvents, listen, type Notice } from '../../src/store/index.ts'
import { alice, bob, day, dumpDatabase, home, testAccess } from '../support/access.ts'
import { testStore } from '../support/database.ts'

const by = 'test'

async function setUp() {
  const store = await testStore()
  const access = testAccess(store)
  const person = await access.ensurePrincipal(alice)
  return {
    store,
    access,
    person,
    async [Symbol.asyncDispose]() {
      await access[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

test('a principal is made once however many ask at once, and its name is kept current', async () => {
  await using store = await testStore()
  await using access = testAccess(store)
  const made = await Promise.all(Array.from({ length: 20 }, () => access.ensurePrincipal(alice)))
  expect(new Set(made.map((principal) => principal.id)).size).toBe(1)
  const renamed = await access.ensurePrincipal({ ...alice, name: 'Alice Liddell' })
  expect(renamed).toMatchObject({ id: made[0]?.id, name: 'Alice Liddell' })
  expect(await access.findBySlack('T1', alice.slackUser)).toEqual(renamed)
  expect((await listEvents(store.db, { kind: 'principal.created', limit: 10 })).length).toBe(1)
})

test('invariant 4: tokens are hashes; nothing in the database contains a secret', async () => {
  await using t = await setUp()
  const first = await t.access.issue({ principalId: t.person.id, by, requestKey: 'k' })
  const again = await t.access.issue({ principalId: t.person.id, by, requestKey: 'k' })
  const rotated = await t.access.rotate({ tokenId: again.id, by })
  await t.access.verify(rotated.token.reveal(), home)
  await expect(t.access.verify(again.token.reveal(), home)).rejects.toMatchObject({ code: 'token_revoked' })
  await expect(t.access.verify(`${rotated.token.reveal()}x`, home)).rejects.toThrow()
  await t.access[Symbol.asyncDispose]()
  const dump = await dumpDatabase(t.store)
  expect(dump).toContain('$argon2id$v=19$m=19456')
  for (const { token } of [first, again, rotated]) {
    const secret = token.reveal().slice('tcb_'.length + 13, -6)
    expect(secret).toHaveLength(43)
    expect(dump).not.toContain(secret)
    expect(dump).not.toContain(Buffer.from(secret).toString('base64').slice(0, 40))
    expect(dump).not.toContain(Buffer.from(secret).toString('hex'))
    expect(`${token} ${JSON.stringify({ token })}`).not.toContain(secret)
  }
})

test('a token lives 7 days unless asked otherwise, and never outside what is allowed', async () => {
  await using t = await setUp()
  const lives = async (lifetimeMs?: number) => {
    const { id } = await t.access.issue({
      principalId: t.person.id,
      by,
      ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
    })
    const row = await t.access.findToken(id)
    return row === undefined ? 0 : row.expiresAt.getTime() - row.issuedAt.getTime()
  }
  expect(await lives()).toBe(7 * day)
  expect(await lives(5 * 60_000)).toBe(5 * 60_000)
  await expect(lives(31 * day)).rejects.toMatchObject({
    code: 'invalid_input',
    message: 'A token may live from 5m to 30d; 31d was asked for.',
  })
  for (const wrong of [0, -1, 60_000, Number.NaN, Number.POSITIVE_INFINITY]) {
    await expect(lives(wrong)).rejects.toMatchObject({ code: 'invalid_input' })
  }
  expect(() => testAccess(t.store, { maxLifetimeMs: day, defaultLifetimeMs: 2 * day })).toThrow(/between 5m/)
})

test('one request sent a hundred times at once makes one token, and exactly one of the secrets works', async () => {
  await using store = await testStore()
  // Two replicas on one database.
  await using one = testAccess(store)
  await using two = testAccess(store)
  const person = await one.ensurePrincipal(alice)
  const tokens = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      (i % 2 === 0 ? one : two).issue({ principalId: person.id, by, requestKey: 'slack:1' }),
    ),
  )
  expect(new Set(tokens.map((token) => token.id)).size).toBe(1)
  expect(await one.list({ includeEnded: true })).toHaveLength(1)
  // A replica for each, so that the limits are not what decides.
  const checks = tokens.map(({ token }) => testAccess(store).verify(token.reveal(), home))
  const working = (await Promise.allSettled(checks)).filter((check) => check.status === 'fulfilled')
  expect(working).toHaveLength(1)
  const last = await one.issue({ principalId: person.id, by, requestKey: 'slack:1' })
  expect(await one.verify(last.token.reveal(), home)).toMatchObject({ principalId: person.id })
  const count = async (kind: string) => (await listEvents(store.db, { kind, limit: 200 })).length
  expect(await count('token.issued')).toBe(1)
  expect(await count('token.reissued')).toBe(100)
})

test('a request key of another person, or of a token that has ended, is a conflict', async () => {
  await using t = await setUp()
  const other = await t.access.ensurePrincipal(bob)
  const { id } = await t.access.issue({ principalId: t.person.id, by, requestKey: 'k' })
  const conflict = { code: 'conflict' }
  await expect(t.access.issue({ principalId: other.id, by, requestKey: 'k' })).rejects.toMatchObject(conflict)
  await t.access.revoke(id, by, 'lost')
  await expect(t.access.issue({ principalId: t.person.id, by, requestKey: 'k' })).rejects.toMatchObject(
    conflict,
  )
})

test('rotating gives a token of the same toolkit and length, and the old one is dead when it returns', async () => {
  await using t = await setUp()
  await t.store.db.insertInto('toolkits').values({ slug: 'reading', title: 'Reading', tools: '[]' }).execute()
  const old = await t.access.issue({ principalId: t.person.id, by, toolkit: 'reading', lifetimeMs: 3 * day })
  await t.access.verify(old.token.reveal(), home)
  const fresh = await t.access.rotate({ tokenId: old.id, by, requestKey: 'r' })
  expect(fresh).toMatchObject({ toolkit: 'reading', principal: { name: 'Alice' } })
  expect(Math.abs(fresh.expiresAt.getTime() - Date.now() - 3 * day)).toBeLessThan(60_000)
  await expect(t.access.verify(old.token.reveal(), home)).rejects.toMatchObject({ code: 'token_revoked' })
  expect(await t.access.verify(fresh.token.reveal(), home)).toMatchObject({
    toolkit: 'reading',
    tokenId: fresh.id,
  })
  // The same request again: the same token with another secret, and still one live token.
  const again = await t.access.rotate({ tokenId: old.id, by, requestKey: 'r' })
  expect(again.id).toBe(fresh.id)
  await expect(t.access.verify(fresh.token.reveal(), home)).rejects.toMatchObject({ code: 'token_unknown' })
  expect(await t.access.verify(again.token.reveal(), home)).toMatchObject({ tokenId: fresh.id })
  expect(await t.access.list({ principalId: t.person.id })).toHaveLength(1)
  // Without the key it is another request, and the old token has ended.
  await expect(t.access.rotate({ tokenId: old.id, by })).rejects.toMatchObject({ code: 'conflict' })
  await expect(t.access.rotate({ tokenId: 'tok_none' as TokenId, by })).rejects.toMatchObject({
    code: 'not_found',
  })
})

test('ten rotations of one token at once make one new token', async () => {
  await using t = await setUp()
  const old = await t.access.issue({ principalId: t.person.id, by })
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, () => t.access.rotate({ tokenId: old.id, by })),
  )
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
  expect(await t.access.list({})).toHaveLength(1)
})

test('nobody unknown, deactivated or not a person gets a token, nor one for a toolkit that is not there', async () => {
  await using t = await setUp()
  const refused = async (principalId: PrincipalId, code: string) =>
    await expect(t.access.issue({ principalId, by })).rejects.toMatchObject({ code })
  await refused('prn_none' as PrincipalId, 'not_found')
  const system = newId('prn')
  await t.store.db
    .insertInto('principals')
    .values({ id: system, kind: 'system', name: 'discovery' })
    .execute()
  await refused(system, 'forbidden')
  await expect(t.access.deactivate(system, by, 'x')).rejects.toMatchObject({ code: 'forbidden' })
  await t.access.deactivate(t.person.id, by, 'left')
  await refused(t.person.id, 'principal_deactivated')
  const other = await t.access.ensurePrincipal(bob)
  await expect(t.access.issue({ principalId: other.id, by, toolkit: 'nope' })).rejects.toMatchObject({
    code: 'not_found',
    message: 'There is no toolkit "nope"; none is configured.',
  })
})

test('a deactivation ends every token, and none issued beside it survives', async () => {
  await using t = await setUp()
  const issuing = Array.from({ length: 20 }, () => t.access.issue({ principalId: t.person.id, by }))
  await Promise.race(issuing)
  await t.access.deactivate(t.person.id, by, 'left the company')
  await Promise.allSettled(issuing)
  expect(await t.access.list({ principalId: t.person.id })).toEqual([])
  await t.access.deactivate(t.person.id, by, 'again')
  await t.access.reactivate(t.person.id, by)
  await t.access.reactivate(t.person.id, by)
  expect(await t.access.issue({ principalId: t.person.id, by })).toMatchObject({
    principal: { state: 'active' },
  })
  const kinds = (await listEvents(t.store.db, { limit: 100 })).map((event) => event.kind)
  expect(kinds.filter((kind) => kind.startsWith('principal.'))).toEqual([
    'principal.reactivated',
    'principal.deactivated',
    'principal.created',
  ])
})

test('revoking tells the other replicas, is recorded once, and counts only what was alive', async () => {
  await using t = await setUp()
  const heard: Notice[] = []
  await using notices = listen(t.store, silentLog)
  notices.on((notice) => heard.push(notice))
  const [a, b, c] = [
    await t.access.issue({ principalId: t.person.id, by }),
    await t.access.issue({ principalId: t.person.id, by }),
    await t.access.issue({ principalId: t.person.id, by }),
  ]
  await t.store.db
    .updateTable('tokens')
    .set({ expires_at: new Date(0) })
    .where('id', '=', c.id)
    .execute()
  await expect.poll(() => notify(t.store, heard)).toBe(true)
  await t.access.revoke(a.id, by, 'lost laptop')
  await t.access.revoke(a.id, by, 'lost laptop')
  expect(await t.access.revokeAll(t.person.id, by, 'to be sure')).toBe(1)
  expect(await t.access.revokeAll(t.person.id, by, 'to be sure')).toBe(0)
  await expect(t.access.revoke('tok_none' as TokenId, by, 'x')).rejects.toMatchObject({ code: 'not_found' })
  await expect
    .poll(() => heard.filter((n) => n.kind === 'token').map((n) => 'id' in n && n.id))
    .toContain(b.id)
  const revoked = await listEvents(t.store.db, { kind: 'token.revoked', limit: 10 })
  expect(revoked.map((event) => [event.tokenId, event.data.cause])).toEqual([
    [b.id, 'to be sure'],
    [a.id, 'lost laptop'],
  ])
  const live = await t.access.issue({ principalId: t.person.id, by })
  const none = 'tok_none' as TokenId
  expect((await t.access.ended([a.id, b.id, c.id, live.id, none])).toSorted()).toEqual(
    [a.id, b.id, c.id, none].toSorted(),
  )
  expect(await t.access.ended([])).toEqual([])
  expect(await t.access.list({ includeEnded: true })).toHaveLength(4)
})

/** True once the listener is connected: notices sent before that are lost by design. */
async function notify(
  store: Parameters<typeof listen>[0] & { pool: { query(text: string): Promise<unknown> } },
  heard: Notice[],
) {
  await store.pool.query(`SELECT pg_notify('toolcrib', '{"kind":"catalog"}')`)
  return heard.length > 0
}
