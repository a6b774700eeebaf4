import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type EgressRule, egressRule } from '../../src/catalog/index.ts'
import { decideEgress, decideTunnel, underPrefix } from '../../src/egress/decision/decide.ts'
import type { Tuple } from '../../src/egress/request/tuple.ts'

const make = (over: Record<string, unknown> = {}): EgressRule =>
  egressRule.parse({ host: 'api.example.com', methods: ['GET'], paths: ['/v1'], ...over })
const ask = (over: Partial<Tuple> = {}): Tuple => ({
  scheme: 'https',
  host: 'api.example.com',
  port: 443,
  method: 'GET',
  path: '/v1/x',
  query: '',
  ...over,
})

test('invariant 2: nothing is allowed but what a rule names with scheme, host, port, method and path', () => {
  const rules = [make()]
  expect(decideEgress(ask(), rules)).toMatchObject({ allow: true, rule: 'egress[0]' })
  const cases: [Partial<Tuple>, string][] = [
    [{ host: 'evil.example.com' }, 'host_not_allowed'],
    [{ host: 'api.example.com.evil.com' }, 'host_not_allowed'],
    [{ host: 'xapi.example.com' }, 'host_not_allowed'],
    [{ port: 8443 }, 'port_not_allowed'],
    [{ scheme: 'http' }, 'scheme_not_allowed'],
    [{ method: 'POST' }, 'method_not_allowed'],
    [{ method: 'HEAD' }, 'method_not_allowed'],
    [{ path: '/v10' }, 'path_not_allowed'],
    [{ path: '/' }, 'path_not_allowed'],
    [{ path: '/V1/x' }, 'path_not_allowed'],
  ]
  for (const [over, reason] of cases)
    expect(decideEgress(ask(over), rules)).toMatchObject({ allow: false, reason, rule: 'default' })
  expect(decideEgress(ask(), [])).toMatchObject({ allow: false, reason: 'host_not_allowed' })
})

test('a refusal says how near the nearest rule came, wherever it stands', () => {
  const nearest = make({ paths: ['/other'] })
  for (const far of [{ methods: ['POST'] }, { scheme: 'http', port: 443 }, { port: 8443 }])
    for (const rules of [
      [nearest, make(far)],
      [make(far), nearest],
    ])
      expect(decideEgress(ask(), rules)).toMatchObject({ allow: false, reason: 'path_not_allowed' })
})

test('an encoded slash leads to no other rule than a slash in its place, and under none that it is a part of', () => {
  const rules = [
    make(),
    make({ paths: ['/v1/x/admin', '/v1/x'] }),
    make({ paths: ['/w'], methods: ['POST'] }),
  ]
  const cases: [string, object][] = [
    ['/v1/a%2Fb', { allow: true, rule: 'egress[0]' }],
    ['/v1/a%2Fb/c%2Fd', { allow: true, rule: 'egress[0]' }],
    ['/v1/x%2Fadmin', { allow: false, reason: 'path_ambiguous', rule: 'egress[1]' }],
    ['/v1/x%2Fb', { allow: false, reason: 'path_ambiguous', rule: 'egress[1]' }],
    // One rule in either reading.
    ['/v1/x/admin%2Fb', { allow: true, rule: 'egress[1]' }],
    ['/v1/xx%2Fadmin', { allow: true, rule: 'egress[0]' }],
    ['/v1%2Fb', { allow: false, reason: 'path_ambiguous', rule: 'egress[0]' }],
    ['/v1%2Fx%2Fadmin', { allow: false, reason: 'path_ambiguous', rule: 'egress[0]' }],
    ['/w%2Fb', { allow: false, reason: 'path_not_allowed', rule: 'default' }],
  ]
  for (const [path, decision] of cases)
    expect([path, decideEgress(ask({ path }), rules)]).toEqual([path, expect.objectContaining(decision)])
})

test('whatever slashes are encoded, every reading of what is allowed is allowed by the same rule', () => {
  const segment = fc.constantFrom('a', 'b', 'ab')
  const prefix = fc.array(segment, { maxLength: 3 }).map((parts) => `/${parts.join('/')}`)
  const books = fc.array(fc.array(prefix, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 3 })
  const slash = fc.constantFrom('/', '%2F')
  const asked = fc.array(fc.tuple(slash, segment), { minLength: 1, maxLength: 4 })
  let allowed = 0
  fc.assert(
    fc.property(books, asked, (paths, parts) => {
      const rules = paths.map((own) => make({ paths: own }))
      const decide = (as: (slash: string, at: number) => string) =>
        decideEgress(
          ask({ path: parts.map(([one, text], i) => (i === 0 ? '/' : as(one, i)) + text).join('') }),
          rules,
        )
      const decision = decide((one) => one)
      if (!decision.allow) return
      allowed += 1
      // Each encoded slash by itself may be read as one.
      for (let readings = 0; readings < 2 ** parts.length; readings += 1) {
        const read = decide((one, at) => (((readings >> at) & 1) === 1 ? '/' : one))
        expect(read).toMatchObject({ allow: true, rule: decision.rule })
      }
    }),
    { numRuns: 3_000 },
  )
  expect(allowed).toBeGreaterThan(100)
})

test('a key’s odd letters pass where the rule signs for S3 alone, in segments behind what it names', () => {
  const s3 = (services: string[], over: object = {}) =>
    make({
      sign: {
        kind: 'aws_sigv4',
        access_key_id: 'ID',
        secret_access_key: 'KEY',
        regions: ['eu-central-1'],
        services,
      },
      ...over,
    })
  const rules = [
    s3(['s3'], { paths: ['/b'] }),
    s3(['s3'], { paths: ['/b/own'] }),
    s3(['s3', 'sts'], { paths: ['/more'] }),
    make({ paths: ['/plain'] }),
    s3(['s3express'], {
      paths: ['/slot'],
      inject: [{ credential: 'OTHER_KEY', into: 'path:2' }],
    }),
  ]
  const no = (rule: string) => ({ allow: false, reason: 'path_ambiguous', rule })
  const cases: [string, object][] = [
    ['/b/a;b', { allow: true, rule: 'egress[0]' }],
    ['/b//a', { allow: true, rule: 'egress[0]' }],
    ['/b/50%25%20off%3F', { allow: true, rule: 'egress[0]' }],
    ['/b/own/a//b', { allow: true, rule: 'egress[1]' }],
    // Where it would be another rule's, were the letters structure.
    ['/b//own', no('egress[1]')],
    ['/b/own;x', no('egress[1]')],
    ['/b/own%3Fx/y', no('egress[1]')],
    ['/b/own%252fx', no('egress[1]')],
    ['/b/own%253bx', no('egress[1]')],
    ['/b%5Cown', no('egress[0]')],
    ['/b;x', no('egress[0]')],
    ['/more/a;b', no('egress[2]')],
    ['/plain/a;b', no('egress[3]')],
    ['/slot/x/a;b', no('egress[4]')],
    ['/none/a;b', no('default')],
  ]
  for (const [path, decision] of cases)
    expect([path, decideEgress(ask({ path, isKey: true }), rules)]).toEqual([
      path,
      expect.objectContaining(decision),
    ])
})

test('an empty rule list allows no tuple at all', () => {
  fc.assert(
    fc.property(
      fc.record({ host: fc.string(), path: fc.string(), method: fc.string(), port: fc.nat(65_535) }),
      (over) => {
        expect(decideEgress(ask(over), []).allow).toBe(false)
      },
    ),
  )
})

test('the longest path decides, then the first rule', () => {
  const rules = [make({ paths: ['/'] }), make({ paths: ['/v1', '/v1/x'] }), make({ paths: ['/v1/x'] })]
  expect(decideEgress(ask(), rules)).toMatchObject({ rule: 'egress[1]' })
  expect(decideEgress(ask({ path: '/other' }), rules)).toMatchObject({ rule: 'egress[0]' })
})

test('a prefix ends on a segment border', () => {
  expect(underPrefix('/v1', '/v1')).toBe(true)
  expect(underPrefix('/v1/', '/v1')).toBe(true)
  expect(underPrefix('/v1/x', '/v1/')).toBe(true)
  expect(underPrefix('/v1', '/v1/')).toBe(false)
  expect(underPrefix('/v1x', '/v1')).toBe(false)
})

test('row 13: a cleartext rule that injects is refused whole, and a tunnel needs an https rule for its port', () => {
  const inject = [{ credential: 'K', into: 'header:authorization' }]
  const rules = [make({ scheme: 'http', inject })]
  expect(decideEgress(ask({ scheme: 'http', port: 80 }), rules)).toMatchObject({
    reason: 'injection_needs_https',
  })
  expect(decideTunnel({ host: 'api.example.com', port: 80 }, rules)).toMatchObject({
    reason: 'scheme_not_allowed',
  })
  expect(decideTunnel({ host: 'api.example.com', port: 443 }, rules)).toMatchObject({
    reason: 'port_not_allowed',
  })
  expect(decideTunnel({ host: 'api.example.com', port: 443 }, [make()])).toMatchObject({ allow: true })
})
