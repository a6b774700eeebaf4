import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import type { CliIo } from '../../src/cli/index.ts'
import { startAdmin } from '../support/admin.ts'
import { cli } from '../support/cli.ts'

const from = { address: '192.0.2.7', client: 'client 1.0' }

async function setUp(overrides: Parameters<typeof startAdmin>[0] = {}) {
  const admin = await startAdmin(overrides)
  const environment = { url: admin.url, adminKey: admin.key }
  return {
    ...admin,
    run: (line: string, io: Partial<CliIo> & { input?: string | Buffer } = {}) =>
      cli(line.split(' '), { environment, ...io }),
  }
}

test('tokens issue prints the token alone on standard output, and it works', async () => {
  await using t = await setUp()
  const issued = await t.run('tokens issue --for @alice --lifetime 12h')
  expect(issued).toMatchObject({ code: 0, out: expect.stringMatching(/^tcb_\w+\n$/) })
  expect(issued.err).toMatch(/^tok_\w+ for Alice, until \d{4}-\d\d-\d\d \d\d:\d\d UTC; shown only now\.\n$/)
  const caller = await t.access.verify(issued.out.trim(), from)
  expect(caller.principalName).toBe('Alice')
  await t.access[Symbol.asyncDispose]()

  const listed = await t.run('tokens list')
  expect(listed.out).toMatch(/^ID +PERSON +TOOLKIT +STATE +EXPIRES +LAST USED +WITH +FROM\n/)
  expect(listed.out).toMatch(/Alice +- +live .*client 1\.0 +192\.0\.2\.0\/24\n$/)
  const rotated = await t.run(`tokens rotate ${caller.tokenId}`)
  const fresh = await t.access.verify(rotated.out.trim(), from)
  await expect(t.access.verify(issued.out.trim(), from)).rejects.toMatchObject({ code: 'token_revoked' })
  expect(await t.run(`tokens revoke ${fresh.tokenId}`)).toMatchObject({
    code: 0,
    out: `${fresh.tokenId} is revoked.\n`,
  })
  expect(await t.run('tokens list')).toMatchObject({ out: 'There are no tokens.\n' })
  expect((await t.run('tokens list --all')).out.split('\n')).toHaveLength(4)
  await t.run('tokens issue --for bob')
  expect(await t.run('tokens revoke-all bob')).toMatchObject({ out: '1 token is revoked.\n' })
})

test('--json prints the answer as it is, as one document', async () => {
  await using t = await setUp()
  const answer = JSON.parse((await t.run('tokens issue --for alice --json')).out) as Record<string, unknown>
  expect(answer).toMatchObject({ token: expect.stringMatching(/^tcb_/), person: { name: 'Alice' } })
  for (const line of [
    'tokens list',
    'people list',
    'runners list',
    'tools list',
    'credentials list',
    'audit',
    'doctor',
  ]) {
    const { code, out } = await t.run(`${line} --json`)
    expect([line, code, typeof JSON.parse(out)]).toEqual([line, 0, 'object'])
  }
})

test('people, runners and tools are listed and changed', async () => {
  await using t = await setUp()
  expect((await t.run('people list')).out).toMatch(/Alice +T1 +U0ALICE01 +active\n/)
  expect((await t.run('people add Carol --slack-team T1 --slack-user U0CAROL01')).out).toMatch(
    /^Carol is known as prn_\w+\.\n$/,
  )
  expect(await t.run('people deactivate bob --cause left')).toMatchObject({
    code: 0,
    out: 'Bob is deactivated.\n',
  })
  expect(await t.run('tokens issue --for bob')).toMatchObject({
    code: 4,
    out: '',
    err: 'toolcrib: Bob is deactivated and gets no token until an admin reactivates them.\n',
  })
  expect(await t.run('people reactivate bob')).toMatchObject({ code: 0, out: 'Bob is active.\n' })
  expect((await t.run('runners list')).out).toMatch(/Alice +ready .*bubblewrap +It is ready\.\n/)
  expect(await t.run('runners stop alice')).toMatchObject({ code: 0 })
  expect(t.stopped).toHaveLength(1)
  expect((await t.run('tools list')).out).toMatch(
    /sample_sum +sample +sum +changed +no +it changed since it was accepted\n/,
  )
  expect(await t.run('tools accept sample_sum --digest d1')).toMatchObject({ code: 1 })
  const accepted = await t.run('tools accept sample_sum')
  expect(accepted).toMatchObject({ code: 0, out: 'sample_sum is accepted as d2.\n' })
  expect(accepted.err).toBe('{"name":"sum","inputSchema":{"type":"object"}}\n')
  expect(await t.run('tools disable sample_sum')).toMatchObject({
    out: 'sample_sum is disabled; it is disabled.\n',
  })
  expect(await t.run('tools enable sample_sum')).toMatchObject({
    out: 'sample_sum is enabled; it can be called.\n',
  })
  for (const tool of t.tools) tool.configured = false
  expect((await t.run('tools list')).out).toMatch(
    /sample_sum +sample +sum +accepted +no +its source is not in the configuration any more\n/,
  )
})

test('before a tool is accepted, all that changed since it was last is shown, and where a new one may send data', async () => {
  await using t = await setUp()
  const [, sum, fetched] = t.tools
  sum?.changes.push(
    { path: '/definition/description', before: 'adds', after: 'adds\u001b[2J' },
    { path: '/destination/0/paths/0', before: '/v1', after: '/' },
    { path: '/destination/1', after: { host: 'b.example.com' } },
    { path: '/destination/2', before: { host: 'c.example.com' } },
  )
  fetched?.changes.push(
    { path: '/definition/name', after: 'fetch' },
    { path: '/destination/0', after: { host: 'a.example.com' } },
  )
  expect((await t.run('tools list')).out).toContain(
    'its definition and where it may send data changed since it was accepted\n',
  )
  expect((await t.run('tools accept sample_sum')).err.split('\n').slice(1)).toEqual([
    'Since it was accepted:',
    '  ~ /definition/description: "adds" is now "adds\\u001b[2J"',
    '  ~ /destination/0/paths/0: "/v1" is now "/"',
    '  + /destination/1: {"host":"b.example.com"}',
    '  - /destination/2: {"host":"c.example.com"}',
    '',
  ])
  expect((await t.run('tools accept sample_fetch')).err.split('\n').slice(1)).toEqual([
    'It may send data to:',
    '  + /destination/0: {"host":"a.example.com"}',
    '',
  ])
})

test('a credential comes from standard input, less one line break, and is never shown', async () => {
  await using t = await setUp()
  const set = await t.run('credentials set ORDERS_KEY', { input: 'sk-live-1\n' })
  expect(set).toEqual({
    code: 0,
    out: 'ORDERS_KEY for everybody is set.\n',
    err: 'One line break at the end of the value was stripped.\n',
  })
  expect(t.sealed.get('ORDERS_KEY global ')?.value.reveal()).toBe('sk-live-1')
  expect(await t.run('credentials set ORDERS_KEY --for alice', { input: ' sk é ' })).toMatchObject({
    code: 0,
    err: expect.stringMatching(/^A value of fewer than 8 characters may stand in answers by chance[^é]*\n$/),
  })
  expect(t.sealed.get(`ORDERS_KEY principal ${t.alice.id}`)?.value.reveal()).toBe(' sk é ')
  const listed = await t.run('credentials list')
  expect(listed.out).toMatch(/ORDERS_KEY +global +- /)
  // Random ids have letters of either value, but neither a hyphen nor an accent.
  expect(listed.out + (await t.run('credentials list --json')).out).not.toMatch(/sk-|é/)
  expect(await t.run('credentials remove ORDERS_KEY')).toMatchObject({
    out: 'ORDERS_KEY for everybody is removed.\n',
  })
  expect(await t.run('credentials remove ORDERS_KEY')).toMatchObject({ code: 1 })
})

test('an empty, broken or foreign value is refused before it is sent', async () => {
  await using t = await setUp()
  for (const input of [
    '',
    '\n',
    'a\n\n',
    'a\r\n',
    'a\nb',
    'a\0b',
    Buffer.from([0xff, 0xfe]),
    'x'.repeat(65_537),
  ]) {
    const refused = await t.run('credentials set ORDERS_KEY', { input })
    expect(refused).toMatchObject({ code: 2, out: '' })
    expect(refused.err).toContain('The value was refused, nothing was set: ')
  }
  const certificate = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  expect((await t.run('credentials set ORDERS_KEY', { input: certificate })).err).toContain(
    'give the private key before the certificate',
  )
  expect(t.sealed.size).toBe(0)
  // The value has no place on the command line.
  expect(await t.run('credentials set ORDERS_KEY sk-live-1')).toMatchObject({ code: 2 })
})

test('at a terminal the value is asked for without echo; Ctrl-C sets nothing', async () => {
  await using t = await setUp()
  const modes: boolean[] = []
  const typed = (keys: string[]) => {
    const stdin = Readable.from(keys.map((key) => Buffer.from(key))) as CliIo['stdin']
    return Object.assign(stdin, { isTTY: true, setRawMode: (on: boolean) => modes.push(on) })
  }
  const set = await t.run('credentials set ORDERS_KEY', {
    stdin: typed(['sk-live', 'x', '\u007f', '\u001b[A', '1\r']),
  })
  expect(set).toMatchObject({ code: 0, err: 'Value of ORDERS_KEY (it will not be shown): \n' })
  expect(t.sealed.get('ORDERS_KEY global ')?.value.reveal()).toBe('sk-live1')
  expect(modes).toEqual([true, false])
  expect(await t.run('credentials set ORDERS_KEY', { stdin: typed(['s', '\u0003']) })).toMatchObject({
    code: 1,
  })
  expect(await t.run('credentials set ORDERS_KEY', { stdin: typed(['two\nlines\n']) })).toMatchObject({
    code: 2,
  })
  expect(t.sealed.get('ORDERS_KEY global ')?.value.reveal()).toBe('sk-live1')
  // As a terminal that marks what is pasted sends it.
  await t.run('credentials set ORDERS_KEY', { stdin: typed(['\u001b[200~sk-live-2\u001b[201~', '\r']) })
  expect(t.sealed.get('ORDERS_KEY global ')?.value.reveal()).toBe('sk-live-2')
})

test('what is wrong with a name or a person is told before the value is asked for', async () => {
  await using t = await setUp()
  const atTerminal = (line: string) => {
    const stdin = Readable.from([Buffer.from('sk-live-1\r')]) as CliIo['stdin']
    return t.run(line, { stdin: Object.assign(stdin, { isTTY: true, setRawMode: () => undefined }) })
  }
  for (const [line, said] of [
    ['credentials set orders_key', 'use capitals, digits and underscores'],
    ['credentials set ORDERS_KEY --for alise', 'Did you mean "Alice"?'],
  ] as const) {
    const { code, err } = await atTerminal(line)
    expect([line, code === 0, err]).toEqual([line, false, expect.stringContaining(said)])
    expect(err).not.toContain('Value of')
  }
  expect(t.sealed.size).toBe(0)
  // A source may be applied later: the value is stored, and stored under the name that was given.
  expect(await atTerminal('credentials set ORDER_KEY')).toEqual({
    code: 0,
    out: 'ORDER_KEY for everybody is set.\n',
    err: expect.stringMatching(
      /^No source that is applied reads ORDER_KEY\. Did you mean ORDERS_KEY\? It can .*\nValue of ORDER_KEY /,
    ),
  })
  expect((await t.run('credentials set MAIL_PASSWORD', { input: 'sk-live-1' })).err).toBe(
    'No source that is applied reads MAIL_PASSWORD. It can be set all the same, for one that is applied later.\n',
  )
})

test('audit filters and pages', async () => {
  await using t = await setUp()
  await t.run('tokens issue --for alice')
  await t.run('tokens issue --for bob')
  const typo = await t.run('audit --kind egress.denid')
  expect(typo.code).toBe(2)
  expect(typo.err).toMatch(
    /there is no kind "egress\.denid"; there are principal\.created, .*egress\.denied, /,
  )
  const page = await t.run('audit --person alice --kind token.issued --limit 1')
  expect(page.out).toMatch(/token\.issued +Alice +tok_\w+ +- +\{"by":"admin key first"/)
  const first = await t.run('audit --limit 2')
  const before = /There are more: --before (\d+)/.exec(first.err)?.[1]
  expect((await t.run(`audit --limit 2 --before ${before}`)).out).not.toBe(first.out)
  expect(await t.run('audit --limit many')).toMatchObject({ code: 2 })
})

test('the doctor prints cures and fails when a check fails', async () => {
  await using t = await setUp({
    doctor: [
      async () => ({ name: 'database', ok: true, detail: 'It answers.', cure: null }),
      async () => ({ name: 'clock', ok: false, detail: '90 s off.', cure: 'Start chrony.\u001b[2J' }),
    ],
  })
  expect(await t.run('doctor')).toEqual({
    code: 1,
    out: 'ok    database: It answers.\nFAIL  clock: 90 s off.\n      Start chrony.·[2J\n',
    err: 'toolcrib: 1 of 2 checks failed.\n',
  })
})

test('the doctor explains one person, and an unknown one is told with names that come close', async () => {
  await using t = await setUp({
    doctorOf: (person) => [
      async () => ({ name: 'person', ok: true, detail: `${person.name} is active`, cure: null }),
      async () => ({ name: 'sandbox', ok: false, detail: 'failed since noon', cure: 'Wait.' }),
    ],
  })
  expect(await t.run('doctor @alice')).toEqual({
    code: 1,
    out: 'ok    person: Alice is active\nFAIL  sandbox: failed since noon\n      Wait.\n',
    err: 'toolcrib: 1 of 2 checks failed.\n',
  })
  expect(await t.run('doctor @alcie')).toEqual({
    code: 1,
    out: '',
    err: 'toolcrib: Nobody here is called "@alcie". Did you mean "Alice"?\n',
  })
})

test('what people call themselves cannot steer a terminal', async () => {
  await using t = await setUp()
  await t.access.ensurePrincipal({
    slackTeam: 'T1',
    slackUser: 'U0EVIL001',
    name: 'Eve\u001b]0;pwned\u0007\n',
  })
  const { out } = await t.run('people list')
  expect(out).toContain('Eve·]0;pwned··')
  expect(out).not.toContain('\u001b')
})
