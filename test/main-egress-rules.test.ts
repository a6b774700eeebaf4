import { expect, test } from 'vitest'
import { parseConfig } from '../src/config.ts'
import { silentLog } from '../src/core/index.ts'
import { allowEgress, configuration, suggestEgress } from '../src/main-egress-rules.ts'
import { appendEvents } from '../src/store/index.ts'
import { testStore } from './support/database.ts'

const orders = `
sources:
  orders:
    kind: stdio
    command: x
    egress:
      - host: in.example.com
        port: 8443
        address: 10.0.0.5
        methods: [GET]
        paths: [/v1]
        inject: [{ credential: ORDERS_KEY, into: 'header:authorization' }]
`
const read = (text: string | undefined, databaseUrl = '') =>
  parseConfig(text, {
    environment: databaseUrl === '' ? {} : { DATABASE_URL: databaseUrl },
    baseDir: '/srv',
    name: '/srv/toolcrib.yaml',
  })

test('the rule for a refused request says how to apply the file that was named, or that there is none', () => {
  const asked = { source: 'orders', method: 'GET', url: 'https://api.example.com/' }
  const config = read(orders)
  expect(allowEgress(config, configuration('/srv/my tools.yaml'), asked)).toContain(
    "# Add to /srv/my tools.yaml, then run `toolcrib apply --config '/srv/my tools.yaml'`:",
  )
  expect(allowEgress(config, configuration(undefined), asked)).toContain('then run `toolcrib apply`:')
  expect(() => allowEgress(read(undefined), configuration(undefined), asked)).toThrow(
    'there is no configuration file /srv/toolcrib.yaml; name yours by --config or TOOLCRIB_CONFIG',
  )
})

test('a rule that covers more than was refused, for an encoded slash stands in none, says so', () => {
  const asked = { source: 'orders', method: 'GET' }
  const rule = (url: string) => allowEgress(read(orders), configuration(undefined), { ...asked, url })
  expect(rule('https://npm.example.com/@types%2fnode')).toMatch(
    /^# No rule has an encoded slash in it: this one covers all below \/\.\n# Add to /,
  )
  expect(rule('https://npm.example.com/@types/node?at=a%2fb')).toMatch(/^# Add to /)
})

test('the rule for a host that another source reaches says by what, for its own rules say nothing of it', () => {
  const config = read(`${orders}  other:\n    kind: stdio\n    command: x\n`)
  const asked = { source: 'other', method: 'GET', url: 'https://in.example.com:8443/v1' }
  expect(allowEgress(config, configuration(undefined), asked)).toContain(
    '# The source orders reaches https://in.example.com:8443 by `port: 8443` and `address: 10.0.0.5`, with ORDERS_KEY; where that is meant here too, write it in.\n',
  )
  expect(
    allowEgress(config, configuration(undefined), { ...asked, source: 'orders', method: 'POST' }),
  ).not.toContain('The source')
})

test('what was asked is told with scheme and port, and a credential that the rule does not send is named', async () => {
  await using store = await testStore()
  const facts = {
    requestId: 'egr_1',
    sourceId: 'orders',
    runnerId: null,
    generation: null,
    rule: 'default',
    reason: 'path_not_allowed',
    callIds: [],
  }
  const asked = { host: 'in.example.com', method: 'POST', path: '/v2' }
  await appendEvents(
    store.db,
    [
      { ...asked, scheme: 'https', port: 8443 },
      { ...asked, scheme: 'http', port: 80, rule: 'warn', reason: 'name_unresolved' },
      { ...asked, scheme: 'https', host: 'fd00::7', port: 443 },
    ].map((place) => ({ kind: 'egress.denied' as const, data: { ...facts, ...place } })),
  )
  const config = read(orders, store.url)
  const text = await suggestEgress(config, silentLog, configuration(undefined), { source: 'orders', days: 1 })
  expect(text.split('\n').sort()).toEqual(
    expect.arrayContaining([
      '# 1 x https://in.example.com:8443: look at what is asked before you allow it.',
      '# 1 x http://in.example.com:80: look at what is asked before you allow it. Warn mode refused it too: name_unresolved.',
      '# No rule can allow POST https://[fd00::7]:443/v2.',
      '# Other rules of in.example.com use ORDERS_KEY; this one sends no credential unless you write it in.',
      '        address: 10.0.0.5',
    ]),
  )
})
