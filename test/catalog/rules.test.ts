import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalPath, egressRule, sourceSpec } from '../../src/catalog/index.ts'

const rule = { host: 'api.example.com', methods: ['GET'], paths: ['/v1'] }

function problems(egress: object[], more: object = {}): string[] {
  const parsed = sourceSpec.safeParse({ kind: 'stdio', command: 'true', egress, ...more })
  return parsed.success ? [] : parsed.error.issues.map((one) => `${one.path.join('.')}: ${one.message}`)
}

test.each([
  ['*.example.com', 'no wildcards'],
  ['*.co.uk', 'no wildcards'],
  ['*', 'no wildcards'],
  ['API.example.com', 'write it as requests have it: api.example.com'],
  ['api.example.com.', 'write it as requests have it: api.example.com'],
  ['münchen.example.com', 'write it as requests have it: xn--mnchen-3ya.example.com'],
  ['10.0.0.1', 'goes into `address`'],
  ['[2001:db8::1]', 'goes into `address`'],
  ['0x7f.1', 'use a lower-case host name'],
  ['2130706433', 'use a lower-case host name'],
  ['localhost', 'use a lower-case host name with a dot'],
  [
    'api.example.com:8443',
    'write the name alone, api.example.com; the rest of an address goes into `scheme`',
  ],
  ['https://api.example.com/v1', 'write the name alone, api.example.com; the rest of an address goes into'],
  ['https://10.0.0.1/v1', 'use a lower-case host name with a dot'],
  ['xn--a.example.com', 'use a lower-case host name'],
  ['api.example.com:443', 'write the name alone, api.example.com'],
  ['user@api.example.com', 'write the name alone, api.example.com'],
  ['', 'use a lower-case host name'],
])('the host %s is refused when it is written: no request could come to it', (host, cure) => {
  expect(problems([{ ...rule, host }])).toEqual([expect.stringContaining(`egress.0.host: `)])
  expect(problems([{ ...rule, host }])[0]).toContain(cure)
})

test.each([
  ['v1', 'start with "/"'],
  ['/v1?x=1', 'leave out the query'],
  ['/v1#top', 'no fragment'],
  ['/a b', 'printable ASCII'],
  ['/ü', 'printable ASCII'],
  ['/a/../b', 'in two ways'],
  ['/a//b', 'in two ways'],
  ['/a%2Fb', 'in two ways'],
  ['/a;b', 'in two ways'],
  ['/%61', 'write it as requests have it: /a'],
  ['/v1/*', 'a path is a prefix, without wildcards: write /v1, which covers'],
  ['/v1*/x', 'write /, which covers all below it; where an asterisk itself is meant, write %2A'],
  ['/**', 'write /, which covers'],
  ['/%c3%bc', 'write it as requests have it: /%C3%BC'],
])('the path %s is refused when it is written: no request could come to it', (path, cure) => {
  expect(problems([{ ...rule, paths: ['/', path] }])).toEqual([expect.stringContaining(cure)])
})

test('every prefix that is taken is what requests to it are brought to', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...Array.from('/a.%2fFe;?#é~-')), maxLength: 12 }),
      (text) => {
        const prefix = `/${text}`
        const taken = egressRule.safeParse({ ...rule, paths: [prefix] }).success
        expect(taken).toBe(
          JSON.stringify(canonicalPath(prefix)) === JSON.stringify({ ok: true, path: prefix, query: '' }),
        )
      },
    ),
    { numRuns: 2_000 },
  )
})

test('a rule that can match nothing is refused, with the rules that stand before it', () => {
  expect(
    problems([
      { ...rule, methods: ['GET', 'POST'] },
      { ...rule, paths: ['/v2'] },
      // Nothing is left for it; the port is the scheme's own.
      { ...rule, port: 443, methods: ['POST', 'GET'], paths: ['/v1', '/v2'] },
      { ...rule, paths: ['/v1', '/v2'] },
      { ...rule, port: 8443 },
      { ...rule, scheme: 'http' },
    ]),
  ).toEqual([
    'egress.3: matches nothing: egress[0] and egress[1] before it has the same host, methods and paths; put them together',
  ])
})

test('a credential for the body of requests that have none is refused', () => {
  const inject = [{ credential: 'KEY', into: 'body:/key' }]
  expect(problems([{ ...rule, methods: ['GET', 'HEAD'], inject }])).toEqual([
    expect.stringContaining('egress.0.inject: GET and HEAD have no body'),
  ])
  expect(problems([{ ...rule, methods: ['GET'], inject }])).toEqual([
    expect.stringContaining('egress.0.inject: GET has no body'),
  ])
  expect(problems([{ ...rule, methods: ['GET', 'POST'], inject }])).toEqual([])
})

test('one credential has one beginning of its placeholder in a source', () => {
  const bind = (prefix: string, placeholder = true) => [
    { credential: 'KEY', into: 'header:x-key', placeholder, prefix },
  ]
  expect(
    problems([
      { ...rule, inject: bind('sk-') },
      { ...rule, host: 'b.example.com', inject: bind('pk-') },
      { ...rule, host: 'c.example.com', inject: bind('pk-', false) },
    ]),
  ).toEqual([expect.stringMatching(/^egress\.1\.inject\.0\.prefix: .* begins with sk- in another rule/)])
})

test('without interception nothing of a request can be named, and a host and port is one or the other', () => {
  const blind = { host: 'api.example.com', intercept: false }
  expect(problems([{ ...blind, port: 8443 }, { ...blind, host: 'b.example.com' }, rule])).toEqual([])
  const inject = [{ credential: 'KEY', into: 'header:x-key' }]
  expect(
    problems([{ ...blind, methods: ['GET'], paths: ['/'], inject, client_certificate: 'CERT' }]).map(
      (one) => one.split(': ')[0],
    ),
  ).toEqual(['egress.0.methods', 'egress.0.paths', 'egress.0.inject', 'egress.0.client_certificate'])
  expect(problems([{ ...blind, scheme: 'http' }])).toEqual([expect.stringContaining('always seen')])
  for (const egress of [
    [{ ...blind, port: 443 }, rule],
    [rule, blind],
    [blind, { ...blind, port: 443 }],
  ])
    expect(problems(egress)).toEqual([expect.stringContaining('for the same host and port')])
  expect(problems([{ host: 'api.example.com' }])).toEqual([
    expect.stringContaining('egress.0.methods: name what may be asked'),
    expect.stringContaining('egress.0.paths: name prefixes'),
  ])
})

const hmac = { kind: 'hmac', key: 'HOOK_KEY', message: '{path}', headers: { 'x-signature': '{signature}' } }
const sigv4 = {
  kind: 'aws_sigv4',
  access_key_id: 'AWS_ID',
  secret_access_key: 'AWS_SECRET',
  regions: ['eu-central-1'],
  services: ['s3'],
}

test.each([
  ['header:authorization', 'authorization', sigv4],
  ['basic', 'authorization', sigv4],
  ['header:x-amz-security-token', 'x-amz-security-token', sigv4],
  ['header:x-amz-content-sha256', 'x-amz-content-sha256', sigv4],
  ['header:x-signature', 'x-signature', hmac],
])(
  'a credential where the signature writes a header of its own is refused: %s for %s',
  (into, header, sign) => {
    const inject = [
      { credential: 'OTHER', into: 'header:x-key' },
      { credential: 'KEY', into },
    ]
    expect(problems([{ ...rule, sign, inject }])).toEqual([
      `egress.0.inject.1.into: the signature writes ${header} itself, and KEY would not be sent; give it a place of its own, or a rule of its own`,
    ])
    expect(problems([{ ...rule, sign, inject: inject.slice(0, 1) }])).toEqual([])
  },
)

test.each([
  'host',
  'transfer-encoding',
  'content-length',
  'connection',
  'range',
  'accept-encoding',
  'content-type',
  'proxy-x',
])('a signature may not write %s', (name) => {
  const headers = { 'x-signature': '{signature}', [name]: '{date}' }
  expect(problems([{ ...rule, sign: { ...hmac, headers } }])).toEqual([
    expect.stringContaining(`egress.0.sign.headers: ${name}: headers of the connection`),
  ])
  expect(problems([{ ...rule, sign: { ...hmac, headers: { ...hmac.headers, date: '{date}' } } }])).toEqual([])
})

test('a WebSocket over plain http is refused: none would be let through', () => {
  const http = { ...rule, scheme: 'http' }
  for (const methods of [['WEBSOCKET'], ['GET', 'WEBSOCKET']])
    expect(problems([{ ...http, methods }])).toEqual([
      'egress.0.methods: a WebSocket is let through at https addresses (wss:) only; write `scheme: https`, or leave WEBSOCKET out',
    ])
  expect(problems([http, { ...rule, methods: ['WEBSOCKET'] }])).toEqual([])
})

test('a host that gives out the tokens of a minted credential is not let through unseen', () => {
  const blind = { host: 'auth.example.com', intercept: false }
  const inject = [{ credential: 'TOKEN', into: 'header:authorization' }]
  const minted = (token_url: string) => ({
    minted: {
      TOKEN: { kind: 'oauth_client_credentials', token_url, client_id: 'us', client_secret: 'CLIENT_SECRET' },
    },
  })
  for (const [egress, url] of [
    [blind, 'https://auth.example.com/token'],
    [{ ...blind, port: 443 }, 'https://auth.example.com/token'],
    [{ ...blind, port: 8443 }, 'https://auth.example.com:8443/token'],
  ] as const)
    expect(problems([{ ...rule, inject }, egress], minted(url))).toEqual([
      'egress.1.intercept: the token of TOKEN is asked for at this host and port, and unseen a source could fetch one of its own; leave `intercept` out',
    ])
  expect(problems([{ ...rule, inject }, blind], minted('https://auth.example.com:8443/token'))).toEqual([])
  const github = { kind: 'github_app', app_id: '1', installation_id: '2', private_key: 'APP_KEY' }
  expect(
    problems(
      [
        { ...rule, inject },
        { ...blind, host: 'api.github.com' },
      ],
      { minted: { TOKEN: github } },
    ),
  ).toEqual([expect.stringContaining('egress.1.intercept: the token of TOKEN')])
})

test('what is wrong with one rule hides nothing of the others, and nothing is concluded from what it may have meant', () => {
  const found = problems(
    [
      { ...rule, methods: ['get'], inject: [{ credential: 'ONE', into: 'header:x-a', placeholder: true }] },
      { ...rule, paths: ['/a'], address: '10.0.0.5' },
      { ...rule, host: 'b.example.com', scheme: 'http', inject: [{ credential: 'K', into: 'basic' }] },
      { ...rule, paths: ['/a'] },
    ],
    { environment: { 'A B': 'x', KEY: '${placeholder:ONE}' }, timeout_seconds: 0 },
  )
  expect(found.map((line) => line.replace(/^(\S+) .*?(;.*)?$/, '$1'))).toEqual([
    'environment.A',
    'egress.0.methods.0:',
    'timeout_seconds:',
    'egress.3:',
    'egress.1.address:',
    'egress.2.inject:',
  ])
  expect(found).toContain('egress.0.methods.0: write GET')
  expect(problems([{ ...rule, methods: ['TRACE'] }])).toEqual([
    'egress.0.methods.0: use GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS or WEBSOCKET',
  ])
})

test.each([
  [{ scheme: 'ftp' }, 'scheme'],
  [{ port: 0 }, 'port'],
  [{ port: 1.5 }, 'port'],
  [{ port: 65_536 }, 'port'],
  [{ intercept: 'no' }, 'intercept'],
  [{ client_certificate: 'in clear' }, 'client_certificate'],
])('a rule is refused with %j', (extra, place) => {
  expect(problems([{ ...rule, ...extra }])).toEqual([expect.stringContaining(`egress.0.${place}: `)])
  expect(problems([{ ...rule, port: 65_535 }])).toEqual([])
})
