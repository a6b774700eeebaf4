import type { RequestListener } from 'node:http'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Binding } from '../../../src/catalog/index.ts'
import { Secret } from '../../../src/core/index.ts'
import { readings } from '../../../src/egress/secrets/readings.ts'
import { host } from '../../support/armed.ts'
import { makeWorld, request, rule, sayAndRead } from '../../support/egress-world.ts'

/** What an upstream reads out of a credential, and what it shows of the bytes that came. */

/** One answer to a request with this credential in this slot, as text. */
async function answered(
  value: string,
  binding: Partial<Binding>,
  show: (req: Parameters<RequestListener>[0], body: string) => string,
  [path, method, type, body]: [path?: string, method?: string, type?: string, body?: string] = [],
): Promise<string> {
  await using world = await makeWorld()
  await world.vault.setCredential({
    name: 'ORDERS_KEY',
    scope: 'global',
    scopeId: '',
    value: new Secret(value),
    by: 'test',
  })
  const up = await world.upstream((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const text = Buffer.from(show(req, Buffer.concat(chunks).toString('latin1')))
      res.setHeader('content-length', text.length).end(text)
    })
  })
  await world.setRules([rule(host, up.port, { inject: [{ credential: 'ORDERS_KEY', ...binding }] })])
  const headers = type === undefined ? [] : [`Content-Type: ${type}`]
  const asked = request(host, up.port, path ?? '/', headers, method ?? 'GET', body ?? '')
  const answer = await sayAndRead(await world.tunnel(host, up.port), asked)
  expect(answer).toContain('200 OK')
  return answer.slice(answer.indexOf('\r\n\r\n') + 4)
}

const key = '1971800d4d82861d8f2c1651fea4d212'
test.each<[string, string, string, string]>([
  ['a key and a word, as Toggl takes it', `${key}:api_token`, key, 'api_token'],
  ['a key and nothing', `${key}:`, key, 'nothing'],
  ['a key and a letter, as Freshdesk takes it', `${key}:X`, key, 'X'],
  ['a short key and a word', 'k3y-of-9x:Unused', 'k3y-of-9x', 'Unused'],
  ['a key and a word of the service’s own', `${key}:whatever`, key, 'what'],
  [
    'an account and its token, as Twilio takes it',
    `AC${key}:9f8e7d6c5b4a39281706`,
    '9f8e7d6c5b4a39281706',
    `AC${key}`,
  ],
  ['a name and a password', 'robot:correct horse', 'correct horse', 'robot'],
  [
    'an address and a password',
    'robot-number-1@example.com:horse staple',
    'horse staple',
    'robot-number-1@example.com',
  ],
  ['a word and a key', `x-access-token:${key}`, key, 'x-access-token'],
])(
  'row 7: of Basic that is %s the key comes back masked, and what is none as it is',
  async (_, pair, secret, plain) => {
    const answer = await answered(pair, { into: 'basic' }, () => JSON.stringify({ key: secret, plain }))
    expect(answer).not.toContain(secret)
    expect(answer).toContain(`"plain":"${plain}"`)
  },
)

test('row 7: a key for the user is masked too where the value is the base64 of the pair', async () => {
  const value = Buffer.from(`${key}:api_token`).toString('base64')
  const inHeader = { into: 'header:authorization', format: 'Basic {value}' }
  expect(await answered(value, inHeader, () => `${key} api_token`)).toBe(`${'*'.repeat(32)} api_token`)
})

test('row 7: where the rule writes the user, a colon is one of the password', () => {
  const binding = { credential: 'ORDERS_KEY', into: 'basic', format: 'robot:{value}' } as Binding
  const texts = readings(binding, 'correct:horse')
  expect(texts.toSorted()).toEqual(
    [Buffer.from('robot:correct:horse').toString('base64'), 'correct:horse'].sort(),
  )
})

test('row 7: of every user and password the pair is searched for, and a side of it that could be a key', () => {
  const binding = { credential: 'ORDERS_KEY', into: 'basic', format: '{value}' } as Binding
  const side = fc.oneof(fc.string(), fc.constantFrom('x', 'token', 'password', 'x-oauth-basic', key))
  fc.assert(
    fc.property(side, side, (user, password) => {
      fc.pre(!user.includes(':'))
      const texts = readings(binding, `${user}:${password}`)
      expect(texts).toContain(`${user}:${password}`)
      expect(texts).toContain(Buffer.from(`${user}:${password}`).toString('base64'))
      const sides = [user, password].filter(({ length }) => length >= 4)
      expect(sides.length === 0 || sides.some((each) => texts.includes(each))).toBe(true)
      expect(new Set(texts).size).toBe(texts.length)
    }),
  )
})

const writings: [string, (text: string) => string, (text: string) => string][] = [
  ['hex', (t) => Buffer.from(t).toString('hex'), (t) => Buffer.from(t, 'hex').toString('latin1')],
  ['base64', (t) => Buffer.from(t).toString('base64'), (t) => Buffer.from(t, 'base64').toString('latin1')],
  ['UTF-16', (t) => Buffer.from(t, 'utf16le').toString('latin1'), (t) => t.replaceAll('\0', '')],
]
const odd = 'abcd/efgh+ijkl="mnop"&qrst'
const slots: [string, string, Partial<Binding>, string, Parameters<typeof answered>[3]?][] = [
  ['Basic', odd, { into: 'basic', format: 'robot:{value}' }, Buffer.from(`robot:${odd}`).toString('base64')],
  ['the query', odd, { into: 'query:api_key' }, encodeURIComponent(odd)],
  ['the path', odd, { into: 'path:2' }, encodeURIComponent(odd), ['/v1/k/orders']],
  ['a header', odd, { into: 'header:x-key' }, odd],
  [
    'a form',
    odd,
    { into: 'body:/key' },
    encodeURIComponent(odd),
    ['/', 'POST', 'application/x-www-form-urlencoded', 'a=1'],
  ],
  [
    'JSON',
    odd,
    { into: 'body:/key' },
    JSON.stringify(odd).slice(1, -1),
    ['/', 'POST', 'application/json', '{"a":1}'],
  ],
]
test.each(slots.flatMap((slot) => writings.map((writing) => [slot[0], writing[0], slot, writing] as const)))(
  'row 7: a request with a credential in %s that is shown whole in %s does not give it away',
  async (_slot, _writing, [, value, binding, travels, asked], [, write, read]) => {
    let sent = ''
    const shown = await answered(
      value,
      binding,
      (req, body) => {
        sent = `${req.method} ${req.url}\r\n${req.rawHeaders.join('\r\n')}\r\n\r\n${body}`
        return write(sent)
      },
      asked,
    )
    expect(sent).toContain(travels)
    const text = read(shown.replaceAll('*', '0'))
    expect(text).toContain(sent.slice(0, 4))
    expect(text).not.toContain(travels.slice(4, 16))
    expect(shown).toMatch(/\*{9}/)
  },
)
