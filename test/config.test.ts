import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { parseConfig } from '../src/config.ts'
import { configFile } from '../src/config-schema.ts'
import { checkRules } from '../src/policy/index.ts'

const read = (text: string, environment: Record<string, string> = {}) =>
  parseConfig(text, { environment, baseDir: '/nowhere', name: 'toolcrib.yaml' })

test('an empty file gives the defaults that the example states', () => {
  const { file } = read('')
  const example = parse(readFileSync('toolcrib.example.yaml', 'utf8')) as Record<string, unknown>
  const stated = configFile.parse(example)
  for (const key of [
    'listen',
    'database',
    'replicas',
    'tokens',
    'mcp',
    'sandbox',
    'egress',
    'state_dir',
    'log_level',
  ] as const) {
    expect({ [key]: stated[key] }).toEqual({ [key]: file[key] })
  }
})

test('the example names tools that its source has: a copy of it starts again once they are known', () => {
  const { toolkits, policy } = configFile.parse(parse(readFileSync('toolcrib.example.yaml', 'utf8')))
  const server = readFileSync('sources/orders/server.ts', 'utf8')
  const remoteNames = Array.from(
    server.matchAll(/registerTool\(\s*'(\w+)'/g),
    ([, remoteName = '']) => remoteName,
  )
  const tools = remoteNames.map((remoteName) => ({ sourceId: 'billing', remoteName }))
  expect(tools.length).toBeGreaterThan(0)
  expect(checkRules({ rules: policy.rules, toolkits }, { sources: ['billing'], tools })).toEqual([])
})

test('the example shows every key of the schema, and nobody who copies it is in warn mode', () => {
  const text = readFileSync('toolcrib.example.yaml', 'utf8')
  expect(parse(text)).not.toHaveProperty('sources.billing.egress_warn_until')
  const example = parse(text.replace('# egress_warn_until: ', 'egress_warn_until: ')) as unknown
  const schema = z.toJSONSchema(configFile, { io: 'input', unrepresentable: 'any' })
  expect(missingKeys(schema as Schema, example, '')).toEqual([])
})

test('the configuration of npm run dev is valid', () => {
  expect(Object.keys(read(readFileSync('toolcrib.dev.yaml', 'utf8')).file.sources)).toEqual([
    'everything',
    'workspace',
    'orders',
  ])
})

test('every problem is told at once, with its place and what would work', () => {
  const text =
    'listn: 1\ntokens: { max_lifetime: soon }\nsources: { a: { kind: stdio, command: x, egress: [{ host: EXAMPLE.com, methods: [GET], paths: [v1] }] } }\n'
  expect(() => read(text, { SLACK_BOT_TOKEN: 'xoxb-1' })).toThrow(
    expect.objectContaining({
      message: expect.stringMatching(
        /(?=[^]*unknown key "listn")(?=[^]*tokens\.max_lifetime: "soon" is not a duration; write)(?=[^]*host: write it as requests have it: example\.com)(?=[^]*paths\.0: start with "\/")(?=[^]*SLACK_SIGNING_SECRET or SLACK_APP_TOKEN)/,
      ),
    }),
  )
})

const problems = (text: string) => {
  try {
    read(text)
    return []
  } catch (error) {
    return (error as Error).message.split('\n').slice(1)
  }
}

test('a bad name hides nothing below it, and every name that cannot be used is told with what can', () => {
  const rule = '{ host: a.example.com, methods: [GET], paths: [/], address: 10.0.0.5 }'
  const text = (name: string) =>
    `sources: { ${name}: { kind: stdio, command: x, environment: { 1A: x }, egress: [${rule}] } }`
  const address = (name: string) =>
    `  - sources.${name}.egress.0.address: name the \`port\` too: an exception is one address and one port`
  const environment = (name: string) =>
    `  - sources.${name}.environment.1A: this name cannot be used; use letters, digits and underscores, no digit first`
  expect(problems(text('orders'))).toEqual([environment('orders'), address('orders')])
  expect(problems(text('My_Orders'))).toEqual([
    environment('My_Orders'),
    address('My_Orders'),
    '  - sources.My_Orders: use 1-40 of a-z, 0-9 and inner hyphens',
  ])
})

test('the first sign in a wrong place is told with its cure, and not the echo of all that stands behind it', () => {
  const text = [
    'listen: { port: 1 }',
    'listen: { port: 2 }',
    'sources:',
    '  a:',
    '    egress:',
    '      - { inject: [{ credential: KEY, format: Bearer {value} }] }',
    '      - { host: a.example.com, methods: [GET], paths: [/] }',
  ]
  expect(problems(text.join('\n'))).toEqual([
    '  - line 2, column 1: Map keys must be unique',
    '  - line 6, column 54: Unexpected flow-map-start at node end; a text that holds { } [ ] , : or # is put into quotes',
  ])
})

test('a second document in the file is told with its line and the way out', () => {
  expect(problems('listen: { port: 1 }\n---\nsources: {}\n')).toEqual([
    '  - line 2: a second document begins here; one file is one document, so take out the line `---`',
  ])
})

test.each(['/', '/tmp', '/opt', '/home', '/opt/tools/', 'opt'])(
  'a folder that would take the sandbox’s own away, or is no plain path, is not shown to tools: %s',
  (path) => {
    const text = (shown: string) => `sandbox: { read_only_paths: ["${shown}"] }`
    expect(() => read(text(path))).toThrow(/read_only_paths.*(absolute path|its own)/)
    expect(read(text('/opt/tools')).file.sandbox.read_only_paths).toEqual(['/opt/tools'])
  },
)

test('a secret of the environment does not print', () => {
  const config = read('', { SLACK_BOT_TOKEN: 'xoxb-hidden', SLACK_APP_TOKEN: 'xapp-hidden' })
  expect(JSON.stringify(config)).not.toContain('hidden')
})

interface Schema {
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  items?: Schema
  const?: unknown
  anyOf?: Schema[]
  oneOf?: Schema[]
}

/** Paths of the keys that `schema` knows and `value` does not show; one example entry stands for a whole record. */
function missingKeys(schema: Schema, value: unknown, path: string): string[] {
  if (Array.isArray(value))
    return value.length === 0 ? [] : missingKeys(schema.items ?? {}, value[0], `${path}[]`)
  const object = (value ?? {}) as Record<string, unknown>
  const missing = Object.entries(schema.properties ?? {}).flatMap(([key, member]) =>
    key in object ? missingKeys(member, object[key], `${path}.${key}`) : [`${path}.${key}`],
  )
  if (typeof schema.additionalProperties !== 'object') return missing
  const [entry] = Object.entries(object)
  if (entry === undefined) return missing
  return [...missing, ...missingKeys(schema.additionalProperties, entry[1], `${path}.${entry[0]}`)]
}

/** Files that each have `wrong` in another place of `schema`, and else what says which kind of thing it is. */
function everyPlace(schema: Schema, wrong: unknown): unknown[] {
  const members = Object.entries(schema.properties ?? {})
  const kind = Object.fromEntries(
    members.flatMap(([key, member]) => (member.const === undefined ? [] : [[key, member.const]])),
  )
  const inner = [
    ...members.flatMap(([key, member]) =>
      everyPlace(member, wrong).map((value) => ({ ...kind, [key]: value })),
    ),
    ...(typeof schema.additionalProperties === 'object'
      ? everyPlace(schema.additionalProperties, wrong).map((value) => ({ NAME: value }))
      : []),
    ...(schema.items === undefined ? [] : everyPlace(schema.items, wrong).map((value) => [value])),
    ...(schema.anyOf ?? schema.oneOf ?? []).flatMap((option) => everyPlace(option, wrong)),
  ]
  return [wrong, ...inner]
}

test('an empty secret file is refused: as a signing secret it would be one that everybody knows', () => {
  const path = join(mkdtempSync(join(tmpdir(), 'toolcrib-config-')), 'secret')
  writeFileSync(path, '\n')
  expect(() => read('', { SLACK_BOT_TOKEN: 'xoxb-1', SLACK_SIGNING_SECRET_FILE: path })).toThrow(
    /SLACK_SIGNING_SECRET_FILE: ".*" is empty/,
  )
})

test('a key that holds no names, or nothing, is told what to write', () => {
  const cure = 'write `name: value` lines below it, or {} for none'
  expect(problems('sources:\nlisten: [1]\ntoolkits: 5\n')).toEqual([
    `  - listen: holds a list; ${cure}`,
    `  - sources: holds nothing; ${cure}`,
    `  - toolkits: holds a number; ${cure}`,
  ])
})

test('a value of a wrong kind or size is told with what was given and what would work', () => {
  const text = [
    'public_url: crib.example.com',
    'listen: { host: 5, port: 70000, drain_seconds: -1 }',
    'log_level: verbose',
    'tokens: { default_lifetime: 7 }',
    'egress:',
    '  upstream_ca_files: ca.pem',
    '  metrics: { port: "9464" }',
    '  limits: { requests: 0, requests_total: many, tunnels: .inf, tunnels_total: 1.5, idle_seconds: }',
    'sources:',
    '  a: { command: "", egress: [{ host: a.example.com, intercept: yes, sign: { kind: rsa } }] }',
    '  b: { kind: http, command: x, minted: { T: {} } }',
    'toolkits: { t: { title: a, tools: [] } }',
  ]
  const list = 'write a list: each entry on a line of its own behind `- `, or [] for none'
  expect(problems(text.join('\n'))).toEqual(
    [
      'public_url: write the whole address, such as https://crib.example.com',
      'listen.host: holds a number; write a text, in quotes where it looks like something else',
      'listen.port: holds 70000; write 65535 at most',
      'listen.drain_seconds: holds -1; write 0 at least',
      'log_level: holds "verbose"; write debug, info, warn or error',
      'tokens.default_lifetime: write a whole number and m, h or d, such as 30m, 12h or 7d',
      `egress.upstream_ca_files: holds a text; ${list}`,
      'egress.metrics.port: holds "9464"; write it without quotes',
      'egress.limits.requests: holds 0; write 1 at least',
      'egress.limits.requests_total: holds "many"; write a whole number',
      'egress.limits.tunnels: holds Infinity; write a whole number',
      'egress.limits.tunnels_total: holds 1.5; write a whole number',
      'egress.limits.idle_seconds: holds nothing; write a whole number',
      'sources.a.kind: is missing; write stdio',
      'sources.a.command: holds an empty text; write one',
      'sources.a.egress.0.intercept: holds "yes"; write true or false',
      'sources.a.egress.0.sign.kind: holds "rsa"; write aws_sigv4 or hmac',
      'sources.b.kind: holds "http"; write stdio',
      'sources.b.minted.T.kind: is missing; write oauth_client_credentials, oauth_refresh_token or github_app',
      'toolkits.t.tools: has no entry; name 1 at least',
    ].map((line) => `  - ${line}`),
  )
})

test('no part of the schema answers a wrong value in words that are not its own', () => {
  const schema = z.toJSONSchema(configFile, { io: 'input', unrepresentable: 'any' }) as Schema
  for (const wrong of [undefined, null, 5, -1e15, 1e15, 'x'.repeat(5_000), '', true, [], {}, [[]], { x: [] }])
    for (const line of everyPlace(schema, wrong).flatMap((file) => problems(JSON.stringify(file))))
      expect(line).not.toMatch(/Invalid|expected|received|Too (?:big|small)/)
})
