import { expect, test } from 'vitest'
import { egressRule } from '../../src/catalog/index.ts'
import { longestRecordedPath, wholeSegments } from '../../src/egress/decision/proposal.ts'
import { elsewhere, type ProposedAs, proposeRule, suggestRules } from '../../src/egress/index.ts'
import { toldAs } from '../../src/egress/traffic/asked.ts'

const known = [egressRule.parse({ host: 'api.example.com', methods: ['GET'], paths: ['/v1'] })]

test('the rule for a refused request names it and no more, in the spelling of requests', () => {
  expect(proposeRule('get', 'https://API.example.com/v2/a%62c?x=1#top', known)).toEqual({
    rule: { host: 'api.example.com', methods: ['GET'], paths: ['/v2/abc'] },
  })
  expect(proposeRule('POST', 'http://api.example.com:8080/', known)).toEqual({
    rule: { scheme: 'http', host: 'api.example.com', port: 8080, methods: ['POST'], paths: ['/'] },
  })
  expect(proposeRule('GET', 'https://api.example.com/v1/x', known)).toEqual({ allowedBy: 'egress[0]' })
})

test('of a path with an encoded slash the rule names what every server reads alike', () => {
  const packages = { host: 'packages.example.com', methods: ['GET'] }
  const proposed = (path: string) => proposeRule('GET', `https://packages.example.com${path}`, known)
  expect(proposed('/@types%2fnode')).toEqual({ rule: { ...packages, paths: ['/'] } })
  expect(proposed('/npm/@types%2Fnode/x')).toEqual({ rule: { ...packages, paths: ['/npm/'] } })
  expect(proposeRule('GET', 'https://api.example.com/v1/a%2Fb', known)).toEqual({ allowedBy: 'egress[0]' })
})

test('a WebSocket’s address makes a rule that opens one, and no rule for GET allows it already', () => {
  const opens = { rule: { host: 'api.example.com', methods: ['WEBSOCKET'], paths: ['/v1/live'] } }
  expect(proposeRule('GET', 'wss://api.example.com/v1/live', known)).toEqual(opens)
  expect(proposeRule('WEBSOCKET', 'https://api.example.com/v1/live', known)).toEqual(opens)
})

test.each([
  ['GET', 'ftp://api.example.com/', /is no https, http or wss address/],
  ['GET', 'ws://api.example.com/', /is no https, http or wss address/],
  ['GET', 'https://user:s3cr3t@api.example.com/', /^the address has a user before its host; write it as in/],
  ['GET', 'https://api.example.com./', /has a host or a port that no request may name: no dot at its end/],
  ['GET', 'https://api.example.com:70000/', /has a host or a port .* and a port from 1 to 65535/],
  ['GET', 'https://10.0.0.1/', /no rule can allow GET https:\/\/10\.0\.0\.1\/: host: write a name/],
  ['GET', 'https://api.example.com/a/../b', /has a path that no such rule lets out/],
  ['TRACE', 'https://api.example.com/', /no rule can allow TRACE/],
])('what no rule can name says so and why: %s %s', (method, url, why) => {
  expect(() => proposeRule(method, url, known)).toThrow(why)
})

test('a rule is proposed only where the configuration would take it, and none for what goes through unseen already', () => {
  const pinned = egressRule.parse({ host: 'pinned.example.com', intercept: false })
  const rules = [...known, pinned]
  expect(proposeRule('GET', 'https://pinned.example.com/any', rules)).toEqual({ allowedBy: 'egress[1]' })
  expect(() => proposeRule('GET', 'http://pinned.example.com:443/any', rules)).toThrow(
    /no rule can allow GET .*: egress\[1\] lets tunnels to that host and port through unseen/,
  )
  expect(() => proposeRule('WEBSOCKET', 'http://api.example.com/v1/live', known)).toThrow(
    /no rule can allow WEBSOCKET .*: methods: a WebSocket is let through at https addresses/,
  )
  const seen = { host: 'pinned.example.com', port: 443, method: 'GET', path: '/any', times: 2 }
  const clear = { ...seen, scheme: 'http' }
  expect(suggestRules([{ ...seen, scheme: 'https' }, clear], rules)).toEqual({
    rules: [],
    tunnels: [],
    impossible: [clear],
  })
})

test('a refused tunnel to an address is learnt from nothing: no rule can allow it', () => {
  const tunnel = { scheme: 'https', method: 'CONNECT', path: '', port: 443, times: 2 }
  const address = { ...tunnel, host: '169.254.169.254' }
  expect(suggestRules([address, { ...tunnel, host: 'other.example.com' }], known)).toEqual({
    rules: [],
    tunnels: [{ host: 'other.example.com', port: 443, times: 2 }],
    impossible: [address],
  })
})

const pinned = egressRule.parse({
  host: 'in.example.com',
  port: 443,
  address: '10.0.0.5',
  methods: ['GET'],
  paths: ['/v1'],
  inject: [{ credential: 'ORDERS_KEY', into: 'header:x-api-key' }],
  sign: {
    kind: 'aws_sigv4',
    access_key_id: 'AWS_ID',
    secret_access_key: 'AWS_SECRET',
    regions: ['a'],
    services: ['s3'],
  },
  client_certificate: 'CLIENT_PEM',
})
const printed: ProposedAs = {
  rule: { host: 'in.example.com', port: 443, address: '10.0.0.5', methods: ['DELETE'], paths: ['/v1/x'] },
  without: ['ORDERS_KEY', 'AWS_ID', 'AWS_SECRET', 'CLIENT_PEM'],
}

test('the address of a host and port holds for every rule that is proposed there, and its credentials are told of', () => {
  expect(proposeRule('DELETE', 'https://in.example.com/v1/x', [...known, pinned])).toEqual(printed)
  const seen = {
    scheme: 'https',
    host: 'in.example.com',
    port: 443,
    method: 'DELETE',
    path: '/v1/x',
    times: 3,
  }
  expect(suggestRules([seen], [...known, pinned]).rules).toEqual([{ ...printed, times: 3 }])
  expect(proposeRule('GET', 'https://in.example.com:8443/v1', [pinned])).toEqual({
    rule: { host: 'in.example.com', port: 8443, methods: ['GET'], paths: ['/v1'] },
  })
})

test('what other sources have for the same host and port is told, where the proposed rule has it not', () => {
  const others = { billing: { egress: [...known, pinned] }, other: { egress: known } }
  const { rule } = printed
  const bare = { host: 'in.example.com', methods: rule.methods, paths: rule.paths }
  const credentials = ['ORDERS_KEY', 'AWS_ID', 'AWS_SECRET', 'CLIENT_PEM']
  const there = { source: 'billing', port: 443, credentials }
  expect(elsewhere({ rule: bare }, others)).toEqual([{ ...there, address: '10.0.0.5' }])
  expect(elsewhere({ rule }, others)).toEqual([there])
  expect(elsewhere(printed, others)).toEqual([])
  expect(elsewhere({ rule: { ...bare, port: 8443 } }, others)).toEqual([])
  const inClear = { rule: { ...rule, scheme: 'http' as const } }
  expect(elsewhere(inClear, others)).toEqual([])
  expect(proposeRule('DELETE', 'http://in.example.com:443/v1/x', [pinned])).toEqual(inClear)
})

test('a tunnel that was refused where only plain http is named is told of, and one that a rule lets through is not', () => {
  const plain = egressRule.parse({ scheme: 'http', host: 'api.example.com', methods: ['GET'], paths: ['/'] })
  const tunnel = { scheme: 'https', host: 'api.example.com', method: 'CONNECT', path: '', times: 1 }
  expect(
    suggestRules(
      [
        { ...tunnel, port: 80 },
        { ...tunnel, port: 443 },
      ],
      [...known, plain],
    ).tunnels,
  ).toEqual([{ host: 'api.example.com', port: 80, times: 1 }])
})

test('five paths of a host are written out, of more what they have in common, and none that another covers', () => {
  const suggested = (paths: string[]) => {
    const seen = { scheme: 'https', host: 'b.example.com', port: 443, method: 'GET', times: 1 }
    const { rules } = suggestRules(
      paths.map((path) => ({ ...seen, path })),
      known,
    )
    return rules.map(({ rule }) => rule.paths)
  }
  const five = ['/v1/a', '/v1/b', '/v1/c', '/v2/d', '/v2/e']
  expect(suggested(five)).toEqual([five])
  expect(suggested([...five, '/v2/f'])).toEqual([['/v1', '/v2']])
  expect(suggested(['/v1/a', '/v1/a/b', '/v10'])).toEqual([['/v1/a', '/v10']])
})

test('a path that is told or recorded cut makes a rule that covers it', () => {
  const path = `/v2/${'a'.repeat(3_000)}`
  const seen = { scheme: 'https', host: 'api.example.com', port: 443, method: 'GET', path, times: 1 }
  const covering = { host: 'api.example.com', methods: ['GET'], paths: ['/v2'] }
  const recorded = path.slice(0, longestRecordedPath)
  expect(suggestRules([{ ...seen, path: recorded }], known).rules).toEqual([{ rule: covering, times: 1 }])
  expect(proposeRule('GET', `https://api.example.com${path}`, known)).toEqual({
    rule: { ...covering, paths: [path] },
  })
  const { method, url } = toldAs(seen)
  expect(proposeRule(method, url, known)).toEqual({ rule: covering })
  const cut = [11, 10, 8, 7].map((max) => wholeSegments('/v2/ab/c/de', max))
  expect(cut).toEqual(['/v2/ab/c/de', '/v2/ab/c', '/v2/ab/c', '/v2/ab'])
  expect(toldAs({ ...seen, path: '/v2/a' }).url).toBe('https://api.example.com/v2/a')
  expect(toldAs({ ...seen, path: `/${'a'.repeat(3_000)}` }).url).toBe('https://api.example.com')
})

test('an asterisk in what was asked is itself in the rule, which lets that through and nothing else', () => {
  const url = 'https://api.example.com/logs-*/_search'
  const asterisk = { host: 'api.example.com', methods: ['GET'], paths: ['/logs-%2A/_search'] }
  expect(proposeRule('GET', url, known)).toEqual({ rule: asterisk })
  const rules = [egressRule.parse(asterisk)]
  for (const same of [url, url.replace('*', '%2a')])
    expect(proposeRule('GET', same, rules)).toEqual({ allowedBy: 'egress[0]' })
  expect(proposeRule('GET', url.replace('*', '2026'), rules)).toHaveProperty('rule')
})

test('paths that have nothing in common, each of hundreds of segments, are looked at once', () => {
  const long = '/a'.repeat(400)
  const observed = (start: (n: number) => string) =>
    Array.from({ length: 1_000 }, (_, n) => ({
      scheme: 'https',
      host: 'files.example.com',
      port: 443,
      method: 'GET',
      path: `/${start(n)}${long}/${n}`,
      times: 1,
    }))
  const pathsOf = (asked: ReturnType<typeof observed>) =>
    suggestRules(asked, []).rules.map(({ rule }) => rule.paths)
  expect(pathsOf(observed((n) => `${n % 3}`))).toEqual([[`/0${long}`, `/1${long}`, `/2${long}`]])
  /** The shortest of some, since a machine may pause. */
  const ms = (run: () => unknown) =>
    Math.min(
      ...Array.from({ length: 3 }, () => {
        const from = performance.now()
        run()
        return performance.now() - from
      }),
    )
  const apart = observed((n) => `${n}`)
  expect(pathsOf(apart)).toEqual([['/']])
  // With each prefix of each of them made one after the other, it took a hundred times as long as parting them.
  expect(ms(() => suggestRules(apart, [])) / ms(() => apart.map(({ path }) => path.split('/')))).toBeLessThan(
    25,
  )
})
