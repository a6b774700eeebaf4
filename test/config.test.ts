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
