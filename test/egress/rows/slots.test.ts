import { expect, test } from 'vitest'
import { placeholderFor } from '../../../src/vault/index.ts'
import { makeWorld, request, rule, sayAndRead, theSecret, type World } from '../../support/egress-world.ts'

const host = 'orders.example.com'

interface Tried {
  path?: string
  extra?: string[]
  method?: string
  body?: string
}

/** A rule with one binding, and an upstream that tells back what it got. */
async function bound(world: World, binding: Record<string, unknown>, more: Record<string, unknown>[] = []) {
  const up = await world.upstream((req, res) => {
    let body = ''
    req.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    req.on('end', () => res.end(`url ${req.url} headers ${JSON.stringify(req.headers)} body ${body}`))
  })
  await world.setRules([
    rule(host, up.port, { inject: [{ credential: 'ORDERS_KEY', ...binding }] }),
    ...more.map((extra) => rule(host, up.port, extra)),
  ])
  const say = async ({ path = '/', extra = [], method = 'GET', body = '' }: Tried, at = host) =>
    await sayAndRead(await world.tunnel(at, up.port), request(at, up.port, path, extra, method, body))
  return { up, say }
}

const json = ['Content-Type: application/json']
const form = ['Content-Type: application/x-www-form-urlencoded']
const header = (raw: string[], name: string) =>
  raw.flatMap((each, i) => (i % 2 === 0 && each.toLowerCase() === name ? [raw[i + 1]] : []))

test('a header slot takes the credential, and the caller’s own value is gone', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'header:x-key', format: 'key {value}' })
  const answer = await say({ extra: ['X-Key: mine', 'x_key: mine', 'X-Key: mine too'] })
  expect(header(up.seen[0]?.rawHeaders ?? [], 'x-key')).toEqual([`key ${theSecret}`])
  expect(JSON.stringify(up.seen)).not.toContain('mine')
  expect(answer).not.toContain(theSecret)
})

test('a basic slot takes user and password, encoded as RFC 7617 has it', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'basic', format: 'robot:{value}' })
  const answer = await say({ extra: ['Authorization: Basic bWluZTptaW5l'] })
  const encoded = Buffer.from(`robot:${theSecret}`).toString('base64')
  expect(header(up.seen[0]?.rawHeaders ?? [], 'authorization')).toEqual([`Basic ${encoded}`])
  expect(answer).not.toContain(encoded.slice(12, -4))
})

test('a query slot takes the credential percent-encoded, and no other spelling of its name remains', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'query:api_key' })
  const answer = await say({
    path: '/v?a=1&api_key=mine&API.KEY=mine&api%5fkey%5B%5D=mine&b=2;api_key=mine&c',
  })
  expect(up.seen[0]?.url).toBe(`/v?a=1&c&api_key=${encodeURIComponent(theSecret)}`)
  expect(answer).not.toContain(encodeURIComponent(theSecret))
  await say({ path: '/v' })
  expect(up.seen[1]?.url).toBe(`/v?api_key=${encodeURIComponent(theSecret)}`)
})

const spellings = [
  'api_key',
  '[api_key]',
  '%5Bapi_key%5D',
  ']api_key',
  '[[api_key]]',
  'api[key',
  'api%5bkey',
  'api_key%00',
  'api_key%00x',
  'api%u005fkey',
  '%u0061pi.%6bey',
  'api+key',
  '++api_key',
  'a%zz;api_key',
]

test('row 11: no spelling of a parameter or a field that some server takes for the slot’s is sent beside it, or in its place', async () => {
  await using world = await makeWorld()
  const secret = `api_key=${encodeURIComponent(theSecret)}`
  const pairs = spellings.map((name) => `${name}=mine`).join('&')
  const kept = 'x=1&api=2&key=3&my[api_key]=4&api[key]=5&api_keys=6'
  const query = await bound(world, { into: 'query:api_key' })
  await query.say({ path: `/v?${pairs}&${kept}` })
  expect(query.up.seen[0]?.url).toBe(`/v?${kept}&${secret}`)
  const inForm = await bound(world, { into: 'body:/api_key' })
  await inForm.say({ method: 'POST', extra: form, body: `${pairs}&${kept}` })
  expect(inForm.up.seen[0]?.body).toBe(`${kept}&${secret}`)
  const placeholder = await bound(world, { into: 'query:api_key', placeholder: true })
  for (const name of spellings)
    expect([name, await placeholder.say({ path: `/v?${name}=mine` })]).toEqual([
      name,
      expect.stringContaining('"reason":"placeholder_missing"'),
    ])
  expect(placeholder.up.seen).toEqual([])
})

test('a form’s field whose name is no ASCII is the slot’s in other letters and escapes too', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'body:/clé€' })
  const escaped = encodeURIComponent('CLÉ€')
  await say({ method: 'POST', extra: form, body: `a=1&${escaped}=mine&cl%u00e9%u20ac=mine` })
  expect(up.seen[0]?.body).toBe(`a=1&${encodeURIComponent('clé€')}=${encodeURIComponent(theSecret)}`)
})

test('row 15: a path slot takes the credential as one segment, and records and refusals show none of it', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'path:1', format: 'bot{value}' })
  const answer = await say({ path: '/TOKEN/send?x=1' })
  expect(up.seen[0]?.url).toBe(`/bot${encodeURIComponent(theSecret)}/send?x=1`)
  expect(answer).not.toContain(encodeURIComponent(theSecret))
  expect(await say({ path: '/' })).toContain('slot_missing')
  expect(await say({ path: '/TOKEN/a%2Fb' })).toContain('200 OK')
  expect(up.seen[1]?.url).toBe(`/bot${encodeURIComponent(theSecret)}/a%2Fb`)
  const [event] = await world.events('egress.allowed')
  expect(event?.data).toMatchObject({
    path: '/TOKEN/send',
    credentials: [{ credential: 'ORDERS_KEY', slot: 'path:1' }],
  })
  expect(JSON.stringify(await world.events()) + world.logged()).not.toContain(encodeURIComponent(theSecret))
})

test('row 15: a path slot is in no path that a server could count other segments in', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'path:2' })
  for (const path of ['/a%2Fb/TOKEN', '/a%2Fb/TOKEN/c']) expect(await say({ path })).toContain('slot_missing')
  expect(up.seen).toEqual([])
})

test.each([
  [
    '{"a":1,"auth":{"key":"mine","n":12345678901234567890}}',
    (v: string) => `{"a":1,"auth":{"key":${v},"n":12345678901234567890}}`,
  ],
  ['{ "auth" : {} , "z":[1] }', (v: string) => `{ "auth" : {"key":${v}} , "z":[1] }`],
  ['{"auth":{"n":1}}', (v: string) => `{"auth":{"key":${v},"n":1}}`],
])(
  'a body slot takes the credential as a JSON string and leaves the rest byte for byte: %s',
  async (body, expected) => {
    await using world = await makeWorld()
    const { up, say } = await bound(world, { into: 'body:/auth/key' })
    const answer = await say({ method: 'POST', extra: json, body })
    expect(up.seen[0]?.body).toBe(expected(JSON.stringify(theSecret)))
    expect(header(up.seen[0]?.rawHeaders ?? [], 'content-length')).toEqual([String(up.seen[0]?.body.length)])
    expect(answer).not.toContain(JSON.stringify(theSecret).slice(1, -1))
  },
)

test('a body slot of one name takes the credential into a form', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'body:/client_secret' })
  const extra = [...form, 'Connection: content-type']
  await say({ method: 'POST', extra, body: 'a=b+c&client_secret=mine' })
  expect(up.seen[0]?.body).toBe(`a=b+c&client_secret=${encodeURIComponent(theSecret)}`)
  expect(header(up.seen[0]?.rawHeaders ?? [], 'content-type')).toEqual(['application/x-www-form-urlencoded'])
})

test('a form has no place for what stands inside of something else', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'body:/auth/key' })
  expect(await say({ method: 'POST', extra: form, body: 'auth=mine&key=mine' })).toContain('slot_missing')
  expect(up.seen).toEqual([])
})

test.each([
  ['a repeated key', json, '{"key":"a","key":"b"}', 'body_malformed'],
  ['a key in other letters', json, '{"Key":"a"}', 'body_malformed'],
  ['a repeated key by escapes', json, '{"key":"a","\\u006bey":"b"}', 'body_malformed'],
  ['a byte order mark', json, '\xef\xbb\xbf{}', 'body_malformed'],
  ['what is no UTF-8', json, '{"a":"\xff"}', 'body_malformed'],
  ['no JSON', json, '{"a":1,}', 'body_malformed'],
  ['two texts', json, '{}{}', 'body_malformed'],
  ['no type', [], '{}', 'body_malformed'],
  ['another charset', ['Content-Type: application/json; charset=utf-16'], '{}', 'body_malformed'],
  ['a coding', [...json, 'Content-Encoding: gzip'], '{}', 'body_encoded'],
  ['a coding in another spelling', [...json, 'Content_Encoding: gzip'], '{}', 'body_encoded'],
  ['a second type', [...json, ...form], '{}', 'body_malformed'],
  ['a second type in another spelling', [...json, 'Content_Type: text/plain'], '{}', 'body_malformed'],
  ['a type in another spelling alone', ['Content.Type: application/json'], '{}', 'body_malformed'],
  ['no object for it', json, '[]', 'slot_missing'],
  ['more values than are read for it', json, `{"a":[${'0,'.repeat(50_000)}0]}`, 'body_too_large'],
  ['more than the limit', json, `{"a":"${'x'.repeat(2000)}"}`, 'body_too_large'],
])('row 24: a body with %s gets no credential and is not sent', async (_, extra, body, reason) => {
  await using world = await makeWorld({ limits: { bodyBytes: 1_000 } })
  const { up, say } = await bound(world, { into: 'body:/key' })
  // Byte for byte: the test's writer sends Latin-1.
  const length = `Content-Length: ${body.length}`
  const socket = await world.tunnel(host, up.port)
  const head = [`POST / HTTP/1.1`, `Host: ${host}:${up.port}`, ...extra, length, '', body].join('\r\n')
  expect(await sayAndRead(socket, head)).toContain(`"reason":"${reason}"`)
  expect(await say({})).toContain('slot_missing')
  expect(up.seen).toEqual([])
})

test('row 11: a member that some reader takes for the slot’s, such as one without regard to case, is not sent beside it, nor in its place', async () => {
  await using world = await makeWorld()
  for (const placeholder of [false, true]) {
    const { up, say } = await bound(world, { into: 'body:/auth/client_secret', placeholder })
    for (const body of [
      '{"auth":{},"Auth":{"client_secret":"mine"}}',
      '{"Auth":{"client_secret":"mine"}}',
      '{"auth":{"client_\\u017fecret":"mine"}}',
      '{"auth":{"client_secret\\ud800":"mine"}}',
      '{"auth":{},"auth\\u0000":{"client_secret":"mine"}}',
    ])
      expect(await say({ method: 'POST', extra: json, body })).toContain('"reason":"body_malformed"')
    expect(up.seen).toEqual([])
  }
})

test('a body without a declared length is refused at the first byte over the limit, never cut', async () => {
  await using world = await makeWorld({ limits: { bodyBytes: 1_000 } })
  const { up } = await bound(world, { into: 'body:/key' })
  const socket = await world.tunnel(host, up.port)
  const head = `POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`
  const answer = await sayAndRead(socket, `${head}44c\r\n${' '.repeat(1100)}\r\n`)
  expect(answer).toMatch(/^HTTP\/1\.1 413 /)
  expect(up.seen).toEqual([])
})

const standIn = (world: World, prefix = 'toolcrib-') =>
  placeholderFor('ORDERS_KEY', world.principalId, prefix)

test('a placeholder is replaced in its slot, whatever its prefix', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, {
    into: 'header:authorization',
    format: 'Bearer {value}',
    placeholder: true,
    prefix: 'sk-',
  })
  const mine = standIn(world, 'sk-')
  expect(mine).toMatch(/^sk-[0-9a-f]{40}$/)
  const answer = await say({ extra: [`Authorization: bearer ${mine}`] })
  expect(header(up.seen[0]?.rawHeaders ?? [], 'authorization')).toEqual([`Bearer ${theSecret}`])
  expect(answer).not.toContain(theSecret)
  expect(await world.outcome()).not.toHaveProperty('inert')
})

test.each([
  ['basic', 'robot:{value}', (p: string) => ({ extra: [`Authorization: Basic ${btoa(`robot:${p}`)}`] })],
  ['query:key', '{value}', (p: string) => ({ path: `/?key=${p.replace('-', '%2D')}` })],
  ['path:2', 'bot{value}', (p: string) => ({ path: `/v1/bot${p}/send` })],
  [
    'body:/a/0/k',
    '{value}',
    (p: string) => ({ method: 'POST', extra: json, body: `{"a":[{"k":"\\u0074${p.slice(1)}"}]}` }),
  ],
  ['body:/k', 'x{value}', (p: string) => ({ method: 'POST', extra: form, body: `z=1&k=x${p}` })],
])('row 5: a placeholder is replaced in a %s slot, as a server would read it', async (into, format, ask) => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into, format, placeholder: true })
  const answer = await say(ask(standIn(world)))
  const [got] = up.seen
  const text = `${decodeURIComponent(got?.url ?? '')} ${got?.body} ${decodeURIComponent(got?.body ?? '')} ${header(
    got?.rawHeaders ?? [],
    'authorization',
  )
    .map((value) => atob(value?.slice(6) ?? ''))
    .join(' ')}`
  expect(text.replaceAll('\\"', '"')).toContain(theSecret)
  expect(text).not.toContain(standIn(world))
  expect(answer).toContain('200 OK')
})

test.each<[string, Tried]>([
  ['header:x-key', {}],
  ['basic', {}],
  ['query:key', { path: '/?a=1' }],
  ['path:2', { path: '/v1' }],
  ['body:/key', {}],
  ['body:/key', { method: 'POST', extra: json, body: '{"a":1}' }],
  ['body:/a/key', { method: 'POST', extra: json, body: '[1]' }],
  ['body:/key', { method: 'POST', extra: form, body: 'a=1' }],
])('a request without a placeholder in the %s slot of one goes out as it is (%j)', async (into, asked) => {
  await using world = await makeWorld()
  const format = into === 'basic' ? 'a:{value}' : '{value}'
  const { up, say } = await bound(world, { into, format, placeholder: true })
  expect(await say(asked)).toContain('200 OK')
  expect(up.seen[0]).toMatchObject({ url: asked.path ?? '/', body: asked.body ?? '' })
  expect(JSON.stringify(up.seen)).not.toContain(theSecret.slice(0, 9))
})

test('rows 1 and 3: a placeholder outside its slot or its rule stays what it is, and is recorded by name', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'header:x-key', placeholder: true }, [{ paths: ['/open'] }])
  const mine = standIn(world)
  const places: Tried[] = [
    { extra: [`Authorization-Copy: ${mine}`] },
    { extra: [`User-Agent: ${mine}`] },
    { path: `/a/${mine}` },
    { path: `/?q=${mine}` },
    { method: 'POST', body: `key ${mine}` },
    { path: '/open', extra: [`X-Key: ${mine}`] },
    { path: '/open', method: 'POST', body: mine },
  ]
  for (const place of places) {
    expect(await say(place)).toContain(mine)
    expect((await world.outcome())['inert']).toEqual(['ORDERS_KEY'])
  }
  expect(JSON.stringify(up.seen)).not.toContain(JSON.stringify(theSecret).slice(1, -1))
  const other = await world.upstream((req, res) => res.end(String(req.headers['x-key'])))
  await world.setRules([
    rule(host, up.port, { inject: [{ credential: 'ORDERS_KEY', into: 'header:x-key', placeholder: true }] }),
    rule('evil.example.com', other.port),
  ])
  const socket = await world.tunnel('evil.example.com', other.port)
  const answer = await sayAndRead(socket, request('evil.example.com', other.port, '/', [`X-Key: ${mine}`]))
  expect(answer).toContain(mine)
  const last = await world.events('egress.allowed', places.length + 1)
  expect(last.at(-1)?.data['credentials']).toEqual([])
  expect(world.logged()).not.toContain(theSecret)
})

test('row 2: another person’s placeholder is worth nothing', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'header:x-key', placeholder: true })
  const stranger = await world.addLease({})
  const theirs = placeholderFor('ORDERS_KEY', stranger.principalId, 'toolcrib-')
  expect(await say({ extra: [`X-Key: ${theirs}`] })).toContain('placeholder_missing')
  expect(up.seen).toEqual([])
})

test('row 4: a second copy of a placeholder in one request refuses it, and at_most allows as many as it says', async () => {
  await using world = await makeWorld()
  const binding = { into: 'header:x-key', placeholder: true }
  const { up, say } = await bound(world, binding)
  const mine = standIn(world)
  const twice: Tried[] = [
    { extra: [`X-Key: ${mine}`, `X-Copy: ${mine}`] },
    { extra: [`X-Key: ${mine}`], path: `/?q=${mine.replace('t', '%74')}` },
    { extra: [`X-Key: ${mine}`, `Authorization: Basic ${btoa(`a:${mine}`)}`] },
  ]
  for (const each of twice) expect(await say(each)).toContain('"reason":"placeholder_repeated"')
  expect(await say({ extra: [`X-Key: ${mine}`, `X-Key: ${mine}`] })).toContain('placeholder_missing')
  expect(up.seen).toEqual([])
  const { up: lenient, say: sayTwice } = await bound(world, { ...binding, at_most: 2 })
  expect(await sayTwice({ extra: [`X-Key: ${mine}`, `X-Copy: ${mine}`] })).toContain(`"x-copy":"${mine}"`)
  expect(header(lenient.seen[0]?.rawHeaders ?? [], 'x-key')).toEqual([theSecret])
})

test('row 4: a copy elsewhere in a body whose slot is filled refuses it, escaped or not', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'body:/key', placeholder: true })
  const mine = standIn(world)
  for (const copy of [mine, `\\u0074${mine.slice(1)}`]) {
    const body = `{"key":"${mine}","note":"${copy}"}`
    expect(await say({ method: 'POST', extra: json, body })).toContain('"reason":"placeholder_repeated"')
  }
  expect(up.seen).toEqual([])
})

test('row 6: a transcript that quotes the placeholder or its prefix goes through beside the real thing', async () => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into: 'header:x-key', placeholder: true, prefix: 'sk-' })
  const mine = standIn(world, 'sk-')
  const body = JSON.stringify({ messages: [`my key is ${mine}, it begins with sk-`] })
  expect(await say({ method: 'POST', extra: [`X-Key: ${mine}`, ...json], body })).toContain('200 OK')
  expect(up.seen[0]?.body).toBe(body)
  expect(header(up.seen[0]?.rawHeaders ?? [], 'x-key')).toEqual([theSecret])
  expect((await world.outcome())['inert']).toEqual(['ORDERS_KEY'])
})

test('row 11: in the slot of a placeholder no key of the caller’s own is let through', async () => {
  await using world = await makeWorld()
  for (const [into, ask] of [
    ['header:x-key', { extra: ['X-Key: mine'] }],
    ['basic', { extra: [`Authorization: Basic ${btoa('a:mine')}`] }],
    ['query:key', { path: '/?key=mine' }],
    ['path:1', { path: '/mine' }],
    ['body:/key', { method: 'POST', extra: json, body: '{"key":"mine"}' }],
  ] as const) {
    const format = into === 'basic' ? 'a:{value}' : '{value}'
    const { up, say } = await bound(world, { into, format, placeholder: true })
    expect(await say({ ...ask, extra: 'extra' in ask ? [...ask.extra] : [] })).toContain(
      'placeholder_missing',
    )
    expect(up.seen).toEqual([])
  }
})

test.each([
  ['header:x-key', (text: string): Tried => ({ extra: [`X-Key: ${text}`, 'X-Key: mine'] })],
  ['query:key', (text: string): Tried => ({ path: `/?key=${text}&key=mine` })],
])('row 11: beside its placeholder %s has nothing of the caller’s own', async (into, ask) => {
  await using world = await makeWorld()
  const { up, say } = await bound(world, { into, format: '{value}', placeholder: true })
  const text = placeholderFor('ORDERS_KEY', world.principalId, 'toolcrib-')
  expect(await say(ask(text))).toContain('placeholder_missing')
  expect(up.seen).toEqual([])
})
