import { createHash, createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { z } from 'zod'
import type { SignSpec } from '../../src/catalog/index.ts'
import { signSpec } from '../../src/catalog/minted.ts'
import { Secret } from '../../src/core/index.ts'
import { hmacKey, signHmac } from '../../src/egress/secrets/sign/hmac.ts'
import { createSigner } from '../../src/egress/secrets/sign/signer.ts'
import { payloadHash, sha256Of, signSigv4, sigv4Scope } from '../../src/egress/secrets/sign/sigv4.ts'

const hashOfNothing = sha256Of('')
const authorizationOf = (headers: string[]) => headers[headers.indexOf('Authorization') + 1] ?? ''
const signatureOf = (headers: string[]) => /Signature=([0-9a-f]+)$/.exec(authorizationOf(headers))?.[1]

const suiteKeys = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: new Secret('wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'),
  sessionToken: undefined,
}
const suiteTime = Date.UTC(2015, 7, 30, 12, 36, 0)

test.each([
  ['get-vanilla', 'GET', '', [], '', '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'],
  [
    'get-vanilla-query-order-key-case',
    'GET',
    '?Param2=value2&Param1=value1',
    [],
    '',
    'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
  ],
  ['post-vanilla', 'POST', '', [], '', '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b'],
  [
    'post-x-www-form-urlencoded',
    'POST',
    '',
    ['Content-Type', 'application/x-www-form-urlencoded'],
    'Param1=value1',
    'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
  ],
])(
  'a request is signed as Amazon’s test suite has it: %s',
  (_name, method, query, headers, body, signature) => {
    const bodyHash = createHash('sha256').update(body).digest('hex')
    const signed = signSigv4(
      { method, host: 'example.amazonaws.com', path: '/', query, headers },
      suiteKeys,
      {
        region: 'us-east-1',
        service: 'service',
        bodyHash,
        nowMs: suiteTime,
      },
    )
    expect(signatureOf(signed)).toBe(signature)
  },
)

test.each([
  ['?lifecycle', 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
  ['?max-keys=2&prefix=J', '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'],
])('a request to S3 is signed as Amazon’s documentation has it: %s', (query, signature) => {
  const signed = signSigv4(
    { method: 'GET', host: 'examplebucket.s3.amazonaws.com', path: '/', query, headers: [] },
    {
      accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
      secretAccessKey: new Secret('wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'),
      sessionToken: undefined,
    },
    { region: 'us-east-1', service: 's3', bodyHash: hashOfNothing, nowMs: Date.UTC(2013, 4, 24) },
  )
  expect(signatureOf(signed)).toBe(signature)
  expect(signed).toContain('X-Amz-Content-Sha256')
})

const aws = signSpec.parse({
  kind: 'aws_sigv4',
  access_key_id: 'AWS_ID',
  secret_access_key: 'AWS_SECRET',
  regions: ['eu-central-1', 'us-east-1'],
  services: ['s3'],
}) as Extract<SignSpec, { kind: 'aws_sigv4' }>
const placeholder = (scope: string) => [
  'Authorization',
  `AWS4-HMAC-SHA256 Credential=PLACEHOLDER/20260101/${scope}/aws4_request, SignedHeaders=host, Signature=00`,
]

test('a caller’s own signature may choose among the allowed regions and services, and nothing else', () => {
  const scope = (headers: string[], query = '') => sigv4Scope(aws, { headers, query })
  expect(scope([])).toEqual({ ok: true, region: 'eu-central-1', service: 's3' })
  expect(scope(placeholder('us-east-1/s3'))).toEqual({ ok: true, region: 'us-east-1', service: 's3' })
  expect(scope(placeholder('us-west-2/s3'))).toEqual({ ok: false })
  expect(scope(placeholder('us-east-1/sts'))).toEqual({ ok: false })
  expect(scope(['Authorization', 'Bearer x'])).toEqual({ ok: false })
  expect(scope([...placeholder('us-east-1/s3'), ...placeholder('us-east-1/s3')])).toEqual({ ok: false })
  expect(scope([], '?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00')).toEqual({ ok: false })
  expect(scope([], '?x-amz-credential=a')).toEqual({ ok: false })
  expect(scope([], '?X%2DAmz%2DSignature=00')).toEqual({ ok: false })
})

test('a stated body hash is signed as it is, a body signed piece by piece is not signed again', () => {
  const stated = (value: string) => payloadHash(['x-amz-content-sha256', value])
  expect(payloadHash([])).toEqual({ kind: 'needed' })
  expect(stated(hashOfNothing)).toEqual({ kind: 'stated', value: hashOfNothing })
  expect(stated('UNSIGNED-PAYLOAD').kind).toBe('stated')
  expect(stated('STREAMING-AWS4-HMAC-SHA256-PAYLOAD').kind).toBe('impossible')
  expect(stated('anything').kind).toBe('impossible')
  const twice = ['x-amz-content-sha256', hashOfNothing, 'X-Amz-Content-Sha256', 'UNSIGNED-PAYLOAD']
  expect(payloadHash(twice)).toEqual({ kind: 'impossible' })
})

test('the order of a query is nothing of its signature, and the digest of a body is', () => {
  const sign = (query: string, headers: string[] = []) =>
    signatureOf(
      signSigv4({ method: 'GET', host: 'h', path: '/', query, headers }, suiteKeys, {
        region: 'us-east-1',
        service: 'service',
        bodyHash: hashOfNothing,
        nowMs: suiteTime,
      }),
    )
  expect(sign('?b=1&a=2&a=1')).toBe(sign('?a=1&a=2&b=1'))
  expect(sign('', ['Content-MD5', 'a'])).not.toBe(sign('', ['Content-MD5', 'b']))
})

test('what is no access key id signs nothing: it stands in a header', () => {
  const signs = (id: string) =>
    createSigner(
      aws,
      new Map([
        ['AWS_ID', new Secret(id)],
        ['AWS_SECRET', new Secret('a-secret-access-key')],
      ]),
    )
  expect(signs('AKIDEXAMPLE')).toBeDefined()
  for (const id of ['AKID/EXAMPLE', 'AKIDEXAMPLE, Signature=00', 'short']) expect(signs(id)).toBeUndefined()
})

test('whatever the caller signed or dated is replaced', () => {
  const signed = signSigv4(
    {
      method: 'PUT',
      host: 'h',
      path: '/a%20b',
      query: '',
      headers: [
        ...placeholder('us-east-1/s3'),
        'X-Amz-Date',
        'old',
        'x-amz-security-token',
        'theirs',
        'Date',
        'x',
      ],
    },
    { ...suiteKeys, sessionToken: new Secret('ours') },
    { region: 'us-east-1', service: 's3', bodyHash: 'UNSIGNED-PAYLOAD', nowMs: suiteTime },
  )
  expect(
    signed.filter((name) => /^(authorization|x-amz-date|x-amz-security-token|date)$/i.test(name)),
  ).toEqual(['X-Amz-Date', 'X-Amz-Security-Token', 'Authorization'])
  expect(signed).toContain('ours')
  expect(signed.join(' ')).not.toMatch(/PLACEHOLDER|theirs|old/)
})

const hmac = (extra: object = {}) =>
  signSpec.parse({
    kind: 'hmac',
    key: 'HOOK_KEY',
    message: '{method}\n{path}\n{query}\n{timestamp}\n{body_sha256_hex}',
    headers: { 'x-signature': 't={timestamp},v1={signature}' },
    ...extra,
  }) as Extract<SignSpec, { kind: 'hmac' }>

test('a message is filled in and signed; what a variable brings is not read as a template again', () => {
  const spec = hmac({ message: '{method} {target} {body}' })
  const body = Buffer.from([0, 255, 0x7b])
  const signed = signHmac(
    spec,
    {
      method: 'POST',
      host: 'h',
      path: '/{nonce}',
      query: '?a={body}',
      headers: ['X_Signature', 'theirs', 'X.Signature', 'theirs', 'A', 'b'],
    },
    { key: Buffer.from('0123456789'), body, nowMs: 1_700_000_000_123 },
  )
  const expected = createHmac('sha256', '0123456789')
    .update(Buffer.concat([Buffer.from('POST /{nonce}?a={body} '), body]))
    .digest('hex')
  expect(signed).toEqual(['A', 'b', 'x-signature', `t=1700000000,v1=${expected}`])
})

test('each variable of a message brings what it says', () => {
  const brings = (message: string) =>
    signHmac(
      hmac({ message, headers: { 'x-signature': '{signature}' } }),
      { method: 'POST', host: 'h:8443', path: '/p', query: '?q=1', headers: [] },
      { key: Buffer.from('0123456789'), body: Buffer.from('b'), nowMs: 1_700_000_000_123 },
    ).at(-1)
  const signed = (text: string) => createHmac('sha256', '0123456789').update(text).digest('hex')
  const digest = createHash('sha256').update('b')
  const base64 = digest.copy().digest('base64')
  expect(
    brings('{host} {path} {query} {timestamp_ms} {date} {iso_date} {body_sha256_hex} {body_sha256_base64}'),
  ).toBe(
    signed(
      `h:8443 /p q=1 1700000000123 Tue, 14 Nov 2023 22:13:20 GMT 2023-11-14T22:13:20.123Z ${digest.digest('hex')} ${base64}`,
    ),
  )
})

test('a key that is not in its encoding signs nothing', () => {
  expect(hmacKey(hmac({ key_encoding: 'hex' }), new Secret('00112233445566778899'))).toHaveLength(10)
  expect(hmacKey(hmac({ key_encoding: 'hex' }), new Secret('no hex at all'))).toBeUndefined()
  expect(hmacKey(hmac({ key_encoding: 'base64' }), new Secret('white space is not base64'))).toBeUndefined()
  expect(hmacKey(hmac(), new Secret('short'))).toBeUndefined()
})

test.each([
  [{ message: '{method} {secret}' }, /knows only/],
  [{ message: 'constant' }, /signs nothing/],
  [{ headers: { 'x-signature': 'v1' } }, /carries \{signature\}/],
  [{ headers: { 'X-Signature': '{signature}' } }, /Invalid key/],
  [{ headers: { 'x-signature': '{signature}{body}' } }, /knows only/],
  [{ algorithm: 'md5' }, /sha256/],
  [{ unknown: 1 }, /unknown/i],
])('a signature that could not work is refused when it is written: %j', (extra, message) => {
  const given = {
    kind: 'hmac',
    key: 'K',
    message: '{body}',
    headers: { 'x-signature': '{signature}' },
    ...extra,
  }
  const parsed = signSpec.safeParse(given)
  expect(parsed.error === undefined ? 'taken' : z.prettifyError(parsed.error)).toMatch(message)
})
