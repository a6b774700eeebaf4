import { expect, test } from 'vitest'
import { composeKey, mintKeyId, mintSecret } from '../../src/access/token.ts'
import { listEvents } from '../../src/store/index.ts'
import { dumpDatabase } from '../support/access.ts'
import { startAdmin } from '../support/admin.ts'

const from = { address: '192.0.2.7', client: null }
type Issued = { id: string; token: string; expiresAt: string; person: { id: string } }

test('a token is issued by name, works, is listed, rotated and revoked, and its secret is seen once', async () => {
  await using admin = await startAdmin()
  const issued = await admin.ask('POST', '/tokens', { for: '@alice', lifetime: '12h' })
  expect(issued).toMatchObject({ status: 201, body: { person: { name: 'Alice' }, toolkit: null } })
  expect(issued.headers.get('cache-control')).toBe('no-store')
  const { id, token, expiresAt } = issued.body as unknown as Issued
  expect(Math.abs(Date.parse(expiresAt) - Date.now() - 43_200_000)).toBeLessThan(60_000)
  await admin.access.verify(token, from)
  await admin.access[Symbol.asyncDispose]()

  const listed = await admin.ask('GET', '/tokens?for=alice')
  expect(listed.body.tokens).toMatchObject([
    { id, principalName: 'Alice', state: 'live', lastUsedAddress: '192.0.2.0/24' },
  ])
  expect(JSON.stringify(listed.body)).not.toContain(token.slice(17))
  const rotated = await admin.ask('POST', `/tokens/${id}/rotate`, {})
  await expect(admin.access.verify(token, from)).rejects.toMatchObject({ code: 'token_revoked' })
  const fresh = rotated.body as unknown as Issued
  await admin.access.verify(fresh.token, from)
  expect(await admin.ask('POST', `/tokens/${fresh.id}/revoke`, { cause: 'lost laptop' })).toMatchObject({
    status: 200,
  })
  expect(await admin.ask('DELETE', `/tokens/${fresh.id}`)).toMatchObject({ status: 200 })
  await expect(admin.access.verify(fresh.token, from)).rejects.toMatchObject({ code: 'token_revoked' })
  expect((await admin.ask('GET', '/tokens')).body.tokens).toEqual([])
  expect((await admin.ask('GET', '/tokens?includeEnded=true')).body.tokens).toHaveLength(2)
  const [event] = await listEvents(admin.store.db, { kind: 'token.revoked', limit: 1 })
  expect(event?.data).toEqual({ by: 'admin key first', cause: 'lost laptop' })
})

test('the same request key makes one token', async () => {
  await using admin = await startAdmin()
  const body = { principalId: admin.bob.id, requestKey: 'deploy-1' }
  const answers = await Promise.all([1, 2, 3].map(() => admin.ask('POST', '/tokens', body)))
  expect(new Set(answers.map(({ body: { id } }) => id)).size).toBe(1)
})

test('without a right key every route is refused before it looks at anything, and that is audited', async () => {
  await using admin = await startAdmin()
  const document = (await (await fetch(`${admin.url}/admin/v1/openapi.json`)).json()) as {
    paths: Record<string, object>
  }
  let routes = 0
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const method of Object.keys(operations)) {
      routes++
      const response = await fetch(admin.url + path, { method: method.toUpperCase() })
      expect([path, response.status]).toEqual([path, 401])
      expect(response.headers.get('www-authenticate')).toBe('Bearer realm="toolcrib admin"')
    }
  }
  expect(routes).toBeGreaterThan(20)
  const token = (await admin.ask('POST', '/tokens', { for: 'alice' })).body.token
  for (const authorization of [
    `Bearer ${composeKey('tca', mintKeyId(), mintSecret()).reveal()}`,
    `Bearer ${String(token)}`,
    `Basic ${admin.key}`,
    admin.key,
  ]) {
    const refused = await admin.ask('GET', '/people', undefined, { authorization })
    expect(refused).toMatchObject({ status: 401, body: { error: { code: 'unauthenticated' } } })
  }
  const [event] = await listEvents(admin.store.db, { kind: 'admin.refused', limit: 1 })
  expect(event?.data).toEqual({ address: '127.0.0.1', code: 'unauthenticated' })
})

test('people are found by name, handle, Slack id and principal id; doubt is told, never guessed', async () => {
  await using admin = await startAdmin()
  for (const name of ['alice', 'ALICE', '@Alice', ' alice ', 'U0ALICE01', admin.alice.id]) {
    const issued = await admin.ask('POST', '/tokens', { for: name })
    expect((issued.body as unknown as Issued).person.id).toBe(admin.alice.id)
  }
  const typo = await admin.ask('POST', '/tokens', { for: 'alise' })
  expect(typo).toMatchObject({
    status: 404,
    body: { error: { code: 'not_found', details: { close: ['Alice'] } } },
  })
  expect(JSON.stringify(typo.body)).toContain('Did you mean \\"Alice\\"?')
  const nobody = await admin.ask('POST', '/tokens', { for: 'zebediah' })
  expect(JSON.stringify(nobody.body)).toContain('once they have written to the Slack app')
  await admin.access.ensurePrincipal({ slackTeam: 'T2', slackUser: 'U0ALICE02', name: 'alice' })
  expect(await admin.ask('POST', '/tokens', { for: 'alice' })).toMatchObject({
    status: 409,
    body: { error: { details: { matches: [{ slackUser: 'U0ALICE01' }, { slackUser: 'U0ALICE02' }] } } },
  })
})

test('people are made known before Slack has heard of them, once each, and can then have tokens', async () => {
  await using admin = await startAdmin()
  const carol = { slackTeam: 'T1', slackUser: 'U0CAROL01', name: 'Carol' }
  const added = await admin.ask('POST', '/people', carol)
  expect(added).toMatchObject({ status: 201, body: { ...carol, state: 'active' } })
  const again = await admin.ask('POST', '/people', { ...carol, name: 'Carol C' })
  expect(again.body).toEqual({ ...added.body, name: 'Carol C' })
  expect(await admin.ask('POST', '/tokens', { for: 'U0CAROL01' })).toMatchObject({ status: 201 })
  expect(await admin.ask('POST', '/people', { ...carol, slackUser: 'carol' })).toMatchObject({ status: 400 })
})

test('people are deactivated, reactivated, and lose all tokens', async () => {
  await using admin = await startAdmin()
  const { token } = (await admin.ask('POST', '/tokens', { for: 'bob' })).body as unknown as Issued
  expect(await admin.ask('POST', '/people/bob/revoke-all', {})).toMatchObject({ body: { revoked: 1 } })
  expect(await admin.ask('POST', '/people/bob/deactivate', { cause: 'left' })).toMatchObject({
    body: { state: 'deactivated' },
  })
  await expect(admin.access.verify(token, from)).rejects.toMatchObject({ code: 'principal_deactivated' })
  expect(await admin.ask('POST', '/tokens', { for: 'bob' })).toMatchObject({
    status: 403,
    body: { error: { code: 'principal_deactivated' } },
  })
  expect(await admin.ask('POST', '/people/bob/reactivate')).toMatchObject({ body: { state: 'active' } })
  expect((await admin.ask('GET', '/people')).body.people).toMatchObject([{ name: 'Alice' }, { name: 'Bob' }])
})

test('runners are listed with their reason and stopped by person or by id', async () => {
  await using admin = await startAdmin()
  const { runners } = (await admin.ask('GET', '/runners')).body as { runners: { id: string }[] }
  expect(runners).toMatchObject([{ principalName: 'Alice', state: 'ready', message: 'It is ready.' }])
  await admin.ask('POST', '/runners/alice/stop', { cause: 'stuck' })
  await admin.ask('POST', `/runners/${runners[0]?.id}/stop`, {})
  expect(admin.stopped).toEqual([
    { principalId: admin.alice.id, cause: 'admin key first: stuck' },
    { principalId: admin.alice.id, cause: 'admin key first: stopped by an admin' },
  ])
  expect(await admin.ask('POST', '/runners/bob/stop', {})).toMatchObject({ status: 404 })
  expect(await admin.ask('POST', '/runners/run_none/stop', {})).toMatchObject({ status: 404 })
})

test('a tool is accepted as it was seen, or not at all', async () => {
  await using admin = await startAdmin()
  const review = async () =>
    ((await admin.ask('GET', '/tools')).body.tools as { review: string; callable: boolean }[]).map(
      ({ review: state, callable }) => [state, callable],
    )
  expect(await review()).toEqual([
    ['accepted', true],
    ['changed', false],
    ['new', false],
  ])
  expect(await admin.ask('POST', '/tools/sample_sum/accept', { definitionDigest: 'd1' })).toMatchObject({
    status: 409,
  })
  expect(await admin.ask('POST', '/tools/sample_sum/accept', {})).toMatchObject({ status: 400 })
  expect(await admin.ask('POST', '/tools/sample_sum/accept', { definitionDigest: 'd2' })).toMatchObject({
    body: { callable: true },
  })
  expect(await admin.ask('POST', '/tools/sample_echo/disable')).toMatchObject({ body: { callable: false } })
  expect(await admin.ask('POST', '/tools/sample_echo/enable')).toMatchObject({ body: { callable: true } })
  expect(await admin.ask('POST', '/tools/nope/enable')).toMatchObject({ status: 404 })
})

test('who would read a credential is told before its value is there', async () => {
  await using admin = await startAdmin()
  expect(await admin.ask('GET', '/credentials/ORDERS_KEY?for=alice')).toMatchObject({
    status: 200,
    body: { name: 'ORDERS_KEY', scope: 'principal', scopeId: admin.alice.id, readBy: ['orders'], near: [] },
  })
  expect(await admin.ask('GET', '/credentials/ORDER_KEY')).toMatchObject({
    body: { scope: 'global', readBy: [], near: ['ORDERS_KEY'] },
  })
  expect(await admin.ask('GET', '/credentials/orders')).toMatchObject({ status: 400 })
  expect(await admin.ask('GET', '/credentials/ORDERS_KEY?for=nobody')).toMatchObject({ status: 404 })
})

test('invariant 1: a credential goes in and never comes out, not even in a refusal', async () => {
  await using admin = await startAdmin()
  const value = 'sk-live-0123456789'
  const answers = [
    await admin.ask('PUT', '/credentials/ORDERS_KEY', { value }),
    await admin.ask('PUT', '/credentials/ORDERS_KEY', { value, for: 'alice' }),
    await admin.ask('PUT', '/credentials/ORDERS_KEY', { value, profile: 'SALES' }),
    // The in-memory list hands the value over on purpose; the route must cut it off.
    await admin.ask('GET', '/credentials'),
    await admin.ask('GET', '/credentials/ORDERS_KEY?for=alice'),
    await admin.ask('PUT', '/credentials/ORDERS_KEY', { value: `${value}\n` }),
    await admin.ask('PUT', '/credentials/orders', { value }),
    await admin.ask('PUT', '/credentials/ORDERS_KEY', { value, for: 'alice', profile: 'SALES' }),
    await admin.ask('PUT', '/credentials/ORDERS_KEY', { value: [value] }),
  ]
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 400, 400, 400, 400])
  expect(JSON.stringify(answers.map(({ body }) => body))).not.toContain(value)
  expect([...admin.sealed.keys()]).toEqual([
    'ORDERS_KEY global ',
    `ORDERS_KEY principal ${admin.alice.id}`,
    'ORDERS_KEY profile SALES',
  ])
  expect(admin.sealed.get('ORDERS_KEY global ')?.value.reveal()).toBe(value)
  expect(await admin.ask('DELETE', '/credentials/ORDERS_KEY?profile=SALES')).toMatchObject({ status: 200 })
  expect(await admin.ask('DELETE', '/credentials/ORDERS_KEY?profile=SALES')).toMatchObject({
    status: 404,
    body: { error: { message: 'There is no credential ORDERS_KEY for the profile SALES.' } },
  })
  expect(await dumpDatabase(admin.store)).not.toContain(value)
})

test('audit events are filtered by person, call and kind, and paged without gaps', async () => {
  await using admin = await startAdmin()
  for (let i = 0; i < 5; i++) await admin.ask('POST', '/tokens', { for: 'alice' })
  await admin.ask('POST', '/tokens', { for: 'bob' })
  const ids: number[] = []
  let next: unknown
  do {
    const before = typeof next === 'number' ? `&before=${next}` : ''
    const page = await admin.ask('GET', `/events?person=alice&kind=token.issued&limit=2${before}`)
    ids.push(...(page.body.events as { id: number }[]).map(({ id }) => id))
    next = page.body.next
  } while (next !== null)
  expect(ids).toHaveLength(5)
  expect(ids).toEqual(ids.toSorted((a, b) => b - a))
  expect((await admin.ask('GET', '/events?call=call_none')).body).toEqual({ events: [], next: null })
  for (const wrong of ['limit=0', 'limit=501', 'limit=x', 'before=-1', 'nope=1']) {
    expect(await admin.ask('GET', `/events?${wrong}`)).toMatchObject({ status: 400 })
  }
})

test('the doctor tells every check with its cure, also when a check breaks', async () => {
  const broken = async () => {
    throw new Error('postgres://user:password@host')
  }
  await using admin = await startAdmin({
    doctor: [async () => ({ name: 'clock', ok: true, detail: 'Right.', cure: null }), broken],
  })
  const { body } = await admin.ask('GET', '/doctor')
  expect(body).toMatchObject({
    ok: false,
    checks: [
      { name: 'clock', ok: true },
      { name: 'broken', ok: false },
    ],
  })
  expect(JSON.stringify(body)).not.toContain('password')
})

test('admin keys are made and ended, but not the last one', async () => {
  await using admin = await startAdmin()
  const made = (await admin.ask('POST', '/keys', { name: 'ci' })).body as { id: string; key: string }
  const authorization = `Bearer ${made.key}`
  expect(await admin.ask('GET', '/people', undefined, { authorization })).toMatchObject({ status: 200 })
  const { keys } = (await admin.ask('GET', '/keys')).body as { keys: { id: string; name: string }[] }
  expect(keys.map(({ name }) => name)).toEqual(['first', 'ci'])
  await admin.ask('POST', `/keys/${made.id}/revoke`)
  expect(await admin.ask('GET', '/people', undefined, { authorization })).toMatchObject({ status: 401 })
  expect(await admin.ask('POST', `/keys/${keys[0]?.id}/revoke`)).toMatchObject({ status: 409 })
})

test('a request that is not understood names everything wrong with it', async () => {
  await using admin = await startAdmin()
  const wrong = await admin.ask('POST', '/tokens', { for: '', lifetime: 7, colour: 'red' })
  const { error } = wrong.body as { error: { code: string; details: { problems: { at: string }[] } } }
  expect(error.code).toBe('invalid_input')
  expect(error.details.problems.map(({ at }) => at).toSorted()).toEqual(['body', 'body.for', 'body.lifetime'])
  expect(await admin.ask('POST', '/tokens', { for: 'alice', lifetime: '99d' })).toMatchObject({
    status: 400,
    body: { error: { message: 'A token may live from 5m to 30d; 99d was asked for.' } },
  })
  expect(await admin.ask('POST', '/tokens', {})).toMatchObject({ status: 400 })
})
