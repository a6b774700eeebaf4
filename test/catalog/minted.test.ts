import { expect, test } from 'vitest'
import { mintUrl, sourceSpec } from '../../src/catalog/index.ts'

/** What is written of minted credentials, of signatures and of client certificates, and is refused as it is written. */

const rule = { host: 'api.example.com', methods: ['GET', 'POST'], paths: ['/'] }
const inject = [{ credential: 'TOKEN', into: 'header:authorization' }]
const oauth = {
  kind: 'oauth_client_credentials',
  token_url: 'https://auth.example.com/token',
  client_id: 'us',
  client_secret: 'CLIENT_SECRET',
}
const refreshed = { ...oauth, kind: 'oauth_refresh_token', refresh_token: 'REFRESH' }
const github = { kind: 'github_app', app_id: 'Iv1.a', installation_id: '2', private_key: 'APP_KEY' }

function problems(egress: object[], minted: object = {}): string[] {
  const parsed = sourceSpec.safeParse({ kind: 'stdio', command: 'true', egress, minted })
  return parsed.success ? [] : parsed.error.issues.map((one) => `${one.path.join('.')}: ${one.message}`)
}
const mintedProblems = (spec: object) => problems([{ ...rule, inject }], { TOKEN: spec })

test.each([
  'https://auth.example.com',
  'https://auth.example.com/',
  'https://auth.example.com:8443/oauth2/v2.0/token',
  'https://xn--mnchen-3ya.example.com/~us/token_a-b/',
  'https://auth.example.com:65535/..a/.b',
  `https://auth.example.com/${'a'.repeat(1_975)}`,
])('a token is asked for at %s', (url) => {
  expect(mintedProblems({ ...oauth, token_url: url })).toEqual([])
  expect(mintedProblems({ ...github, api_url: url })).toEqual([])
})

test.each([
  'http://auth.example.com/token',
  'HTTPS://auth.example.com/token',
  'https://Auth.example.com/token',
  'https://us@auth.example.com/token',
  'https://auth/token',
  'https://auth.example.com./token',
  'https://-auth.example.com/token',
  'https://auth..example.com/token',
  // Addresses, in whatever spelling: where the host really is goes into `address`.
  'https://10.0.0.1/token',
  'https://10.0.0.1:8443/token',
  'https://169.254.169.254',
  'https://127.1',
  'https://0x7f.1/token',
  'https://[::1]/token',
  // Two that no URL is made of.
  'https://auth.0x7f/token',
  'https://xn--a.example.com/token',
  'https://auth.example.com/token?tenant=us',
  'https://auth.example.com/token#us',
  'https://auth.example.com//token',
  'https://auth.example.com/a/../token',
  'https://auth.example.com/./token',
  'https://auth.example.com/token/..',
  'https://auth.example.com/a%2Fb',
  'https://auth.example.com/a;b',
  'https://auth.example.com\\token',
  'https://auth.example.com/token\n',
  ' https://auth.example.com/token',
  'https://auth.example.com:0/token',
  'https://auth.example.com:0443/token',
  'https://auth.example.com:65536/token',
  `https://auth.example.com/${'a'.repeat(1_976)}`,
])('no token is asked for at %s', (url) => {
  expect(mintedProblems({ ...oauth, token_url: url })).toEqual([
    expect.stringMatching(/^minted\.TOKEN\.token_url: (?:use |Too big)/),
  ])
  expect(mintedProblems({ ...github, api_url: url })).toEqual([
    expect.stringMatching(/^minted\.TOKEN\.api_url: (?:use |Too big)/),
  ])
})

test.each<[object, string]>([
  [{ client_id: '' }, 'client_id'],
  [{ client_id: 'a b' }, 'client_id'],
  [{ client_id: 'a\nb' }, 'client_id'],
  [{ client_secret: 'secret in clear' }, 'client_secret'],
  [{ scopes: ['a b'] }, 'scopes.0'],
  [{ client_auth: 'query' }, 'client_auth'],
  [{ unknown: true }, ''],
])('a grant is refused with %j', (extra, place) => {
  for (const spec of [oauth, refreshed])
    expect(mintedProblems({ ...spec, ...extra })).toEqual([
      expect.stringMatching(new RegExp(`^minted\\.TOKEN${place === '' ? '' : `\\.${place}`}: `)),
    ])
})

// A grant sets these itself, from what is written for them and out of the vault.
test.each(['grant_type', 'client_id', 'client_secret', 'refresh_token', 'scope', 'Audience', 'a-b', ''])(
  'a grant is refused with a parameter “%s”',
  (name) => {
    for (const spec of [oauth, refreshed])
      expect(mintedProblems({ ...spec, parameters: { [name]: 'x' } })).toEqual([
        expect.stringContaining(`minted.TOKEN.parameters.${name}: `),
      ])
  },
)

test('a grant has parameters of its own beside what it sets', () => {
  const parameters = { audience: 'https://api.example.com', scope_set: 'a', client_id_2: 'b' }
  expect(mintedProblems({ ...oauth, parameters })).toEqual([])
})

test.each([
  [{ app_id: '' }, 'app_id'],
  [{ app_id: 'a/b' }, 'app_id'],
  [{ app_id: 'a'.repeat(65) }, 'app_id'],
  // It becomes part of the path that is asked for.
  [{ installation_id: '' }, 'installation_id'],
  [{ installation_id: '../2' }, 'installation_id'],
  [{ installation_id: '2/x' }, 'installation_id'],
  [{ installation_id: '2'.repeat(21) }, 'installation_id'],
  [{ repositories: ['owner/name'] }, 'repositories.0'],
  [{ repositories: [''] }, 'repositories.0'],
  [{ repositories: ['a'.repeat(101)] }, 'repositories.0'],
  [{ permissions: { Contents: 'read' } }, 'permissions.Contents'],
  [{ permissions: { 'a b': 'read' } }, 'permissions.a b'],
  [{ permissions: { contents: 'all' } }, 'permissions.contents'],
])('a GitHub app is refused with %j', (extra, place) => {
  expect(mintedProblems({ ...github, ...extra })).toEqual([
    expect.stringContaining(`minted.TOKEN.${place}: `),
  ])
  expect(mintedProblems(github)).toEqual([])
})

test('what is minted is made of what is stored, and a rule injects it', () => {
  const minted = { TOKEN: oauth, OTHER: { ...refreshed, client_secret: 'TOKEN', refresh_token: 'OTHER' } }
  expect(problems([{ ...rule, inject }], minted)).toEqual([
    'minted.OTHER: no rule injects it; name it as the `credential` of one, or leave it out',
    'minted.OTHER: OTHER is itself minted; name a stored credential',
    'minted.OTHER: TOKEN is itself minted; name a stored credential',
  ])
  const publicClient = { ...refreshed, client_secret: undefined }
  expect(problems([{ ...rule, inject }], { TOKEN: publicClient })).toEqual([])
  const app = { ...github, private_key: 'TOKEN' }
  expect(mintedProblems(app)).toEqual(['minted.TOKEN: TOKEN is itself minted; name a stored credential'])
  // A rule that cannot be read may inject it.
  expect(problems([{ ...rule, methods: ['get'], inject }], { TOKEN: oauth })).toEqual([
    'egress.0.methods.0: write GET',
  ])
})

const hmac = { kind: 'hmac', key: 'HOOK_KEY', message: '{body}', headers: { 'x-signature': '{signature}' } }
const sigv4 = {
  kind: 'aws_sigv4',
  access_key_id: 'AWS_ID',
  secret_access_key: 'AWS_SECRET',
  regions: ['eu-central-1'],
  services: ['s3'],
}

test.each([
  [{ regions: [] }, 'regions'],
  [{ regions: ['EU'] }, 'regions.0'],
  [{ regions: ['eu/central'] }, 'regions.0'],
  [{ regions: ['a'.repeat(41)] }, 'regions.0'],
  [{ services: [] }, 'services'],
  [{ services: ['s3/x'] }, 'services.0'],
  [{ services: ['a'.repeat(41)] }, 'services.0'],
  [{ access_key_id: 'AKIAx' }, 'access_key_id'],
  [{ session_token: 'in clear' }, 'session_token'],
  [{ max_body_bytes: 0 }, 'max_body_bytes'],
  [{ max_body_bytes: 1.5 }, 'max_body_bytes'],
  [{ max_body_bytes: 64 * 1024 * 1024 + 1 }, 'max_body_bytes'],
])('a signature of AWS is refused with %j', (extra, place) => {
  expect(problems([{ ...rule, sign: { ...sigv4, ...extra } }])).toEqual([
    expect.stringContaining(`egress.0.sign.${place}: `),
  ])
})

test.each([
  [{ message: '' }, 'message'],
  [{ headers: { 'x-signature': '{signature}\r\nx-more: 1' } }, 'headers.x-signature'],
  [{ headers: { 'x-signature': '{signature}é' } }, 'headers.x-signature'],
  [{ headers: { 'x signature': '{signature}' } }, 'headers.x signature'],
  [{ headers: { '': '{signature}' } }, 'headers.'],
  [{ key: 'in clear' }, 'key'],
])('a signature with a key of one’s own is refused with %j', (extra, place) => {
  expect(problems([{ ...rule, sign: { ...hmac, ...extra } }])).toEqual([
    expect.stringContaining(`egress.0.sign.${place}: `),
  ])
})

const itself = (name: string) => `${name} is itself minted; name a stored credential`
test.each([
  [
    { scheme: 'http', client_certificate: 'CERT' },
    'egress.1.client_certificate: a certificate is shown in TLS: https only',
  ],
  [{ client_certificate: 'TOKEN' }, `egress.1.client_certificate: ${itself('TOKEN')}`],
  [{ scheme: 'http', sign: hmac }, 'egress.1.sign: sign on https only'],
  [{ sign: { ...hmac, key: 'TOKEN' } }, `egress.1.sign: ${itself('TOKEN')}`],
  [{ sign: { ...sigv4, access_key_id: 'TOKEN' } }, `egress.1.sign: ${itself('TOKEN')}`],
  [{ sign: { ...sigv4, secret_access_key: 'TOKEN' } }, `egress.1.sign: ${itself('TOKEN')}`],
  [{ sign: { ...sigv4, session_token: 'TOKEN' } }, `egress.1.sign: ${itself('TOKEN')}`],
  [
    { sign: hmac, inject: [{ credential: 'KEY', into: 'body:/key' }] },
    'egress.1.sign: a signature is over the body as the program sends it; inject elsewhere',
  ],
  [
    { intercept: false, methods: [], paths: [], sign: hmac },
    'egress.1.sign: leave it out: without interception the proxy sees no request and adds nothing to one',
  ],
])('a rule is refused with %j', (extra, problem) => {
  const other = { ...rule, host: 'other.example.com' }
  expect(
    problems(
      [
        { ...rule, inject },
        { ...other, ...extra },
      ],
      { TOKEN: oauth },
    ),
  ).toEqual([problem])
  expect(
    problems(
      [
        { ...rule, inject },
        { ...other, sign: hmac, client_certificate: 'CERT' },
      ],
      { TOKEN: oauth },
    ),
  ).toEqual([])
})

test('a rule for the host that gives out tokens is as good as any, where its tunnel is ended here', () => {
  expect(problems([{ ...rule, host: 'auth.example.com', inject }], { TOKEN: oauth })).toEqual([])
})

test.each(['https://github.example.com/api/v3', 'https://github.example.com/api/v3/'])(
  'the tokens of a GitHub app are asked for below %s',
  (api_url) => {
    expect(mintUrl({ ...github, kind: 'github_app', api_url, repositories: [], permissions: {} }).href).toBe(
      'https://github.example.com/api/v3/app/installations/2/access_tokens',
    )
  },
)
