import { isIP } from 'node:net'
import { z } from 'zod'
import { canonicalAddress } from './addresses.ts'
import { credentialName, injectable } from './binding.ts'
import { canonicalHost } from './hosts.ts'

const printable = z.string().regex(/^[\x21-\x7e]+$/, 'use printable ASCII without spaces')
/** Where a token is asked for: https only, one canonical spelling, nothing that a server could read in two ways. */
const endpoint = z
  .string()
  .max(2_000)
  .refine((url) => endpointProblem(url) === undefined, {
    error: ({ input }) => endpointProblem(String(input)),
  })

function endpointProblem(url: string): string | undefined {
  const form = /^https:\/\/([a-z0-9.-]+)(?::([1-9]\d{0,4}))?((?:\/[A-Za-z0-9_~.-]+)*)\/?$/
  const [, host = '', port = '443', path = ''] = form.exec(url) ?? []
  if (!canonicalHost(host).ok || !host.includes('.') || isIP(host) !== 0)
    return 'use https://, a lower-case host name and a plain path, e.g. https://auth.example.com/oauth/token'
  return Number(port) > 65_535 || /\/\.{1,2}(?:\/|$)/.test(path)
    ? 'use no dot segments and a port below 65536'
    : undefined
}

/** Where the host really is; the one way to a private or loopback address, as in a rule. */
const address = canonicalAddress.optional()

const oauthClient = {
  token_url: endpoint,
  address,
  client_id: printable,
  /** How the client shows who it is (RFC 6749 section 2.3.1): in `Authorization: Basic`, or in the body. */
  client_auth: z.enum(['basic', 'body']).default('basic'),
  scopes: z.array(printable).default([]),
  /** More form fields that the server asks for, such as `audience` (or `resource`, RFC 8707). */
  parameters: z
    .record(
      z
        .string()
        .regex(
          /^(?!(?:grant_type|client_id|client_secret|refresh_token|scope)$)[a-z][a-z0-9_]*$/,
          'use a lower-case name that the grant does not set itself, e.g. audience',
        ),
      z.string(),
    )
    .default({}),
}

/** A credential that the proxy makes out of another one, so that only the short-lived one is ever sent on. */
export const mintedSpec = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('oauth_client_credentials'),
    ...oauthClient,
    client_secret: credentialName,
  }),
  z.strictObject({
    kind: z.literal('oauth_refresh_token'),
    ...oauthClient,
    refresh_token: credentialName,
    /** Left out for a public client. */
    client_secret: credentialName.optional(),
    /** False where a refresh token is good for ever: only then is a refresh tried again after a lost answer. */
    rotates: z.boolean().default(true),
  }),
  z.strictObject({
    kind: z.literal('github_app'),
    api_url: endpoint.default('https://api.github.com'),
    address,
    /** The app's client id, or its number. */
    app_id: z.string().regex(/^[A-Za-z0-9.]{1,64}$/, 'use the app’s client id or its number'),
    installation_id: z.string().regex(/^\d{1,20}$/, 'use the installation’s number, in quotes'),
    private_key: credentialName,
    /** Narrow the token to these repositories and permissions; left out: all that the installation has. */
    repositories: z
      .array(z.string().regex(/^[A-Za-z0-9._-]{1,100}$/, 'use names without the owner'))
      .default([]),
    permissions: z
      .record(
        z.string().regex(/^[a-z_]+$/, 'use a name of GitHub’s such as contents'),
        z.enum(['read', 'write', 'admin']),
      )
      .default({}),
  }),
])
export type MintedSpec = z.infer<typeof mintedSpec>

export const mintedSpecs = z.record(credentialName, mintedSpec).default({})
export type MintedSpecs = z.infer<typeof mintedSpecs>

const bodyLimit = z
  .number()
  .int()
  .min(1)
  .max(64 * 1024 * 1024)
  .default(8 * 1024 * 1024)
const variables = [
  'method',
  'host',
  'path',
  'query',
  'target',
  'timestamp',
  'timestamp_ms',
  'date',
  'iso_date',
  'nonce',
  'body',
  'body_sha256_hex',
  'body_sha256_base64',
] as const
export type SignedVariable = (typeof variables)[number]
const headerVariables = ['timestamp', 'timestamp_ms', 'date', 'iso_date', 'nonce', 'signature'] as const

const unknownIn = (known: readonly string[]) => (template: string) =>
  [...template.matchAll(/\{([^{}]*)\}/g)].every(([, name = '']) => known.includes(name))
const only = (known: readonly string[]) => `knows only ${known.map((name) => `{${name}}`).join(' ')}`

/** A signature that the proxy makes over the request as it goes out; the key itself is never sent. */
export const signSpec = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('aws_sigv4'),
    access_key_id: credentialName,
    secret_access_key: credentialName,
    /** For temporary keys. */
    session_token: credentialName.optional(),
    /** What a caller's own signature may name; the first of each where it names none. */
    regions: z.array(z.string().regex(/^[a-z0-9-]{1,40}$/, 'use a region such as eu-central-1')).min(1),
    services: z
      .array(z.string().regex(/^[a-z0-9-]{1,40}$/, 'use a service’s signing name such as s3'))
      .min(1),
    /** The largest body that is held back to be hashed; one whose hash the caller sends is not held back. */
    max_body_bytes: bodyLimit,
  }),
  z.strictObject({
    kind: z.literal('hmac'),
    key: credentialName,
    /** How the stored text is turned into the key's bytes. */
    key_encoding: z.enum(['utf8', 'hex', 'base64']).default('utf8'),
    algorithm: z.enum(['sha1', 'sha256', 'sha384', 'sha512']).default('sha256'),
    /** What is signed, with `{method}`, `{path}` and others filled in. */
    message: z
      .string()
      .refine(unknownIn(variables), { error: only(variables) })
      .refine((text) => text.includes('{'), { error: 'a message that never changes signs nothing' }),
    signature_encoding: z.enum(['hex', 'base64', 'base64url']).default('hex'),
    /** What is sent: lower-case header names and their values, one of them with `{signature}`. */
    headers: z
      .record(
        z.string().regex(/^[a-z0-9-]+$/, 'use a lower-case header name, e.g. x-signature'),
        z
          .string()
          .regex(/^[\x20-\x7e]+$/, 'use printable ASCII')
          .refine(unknownIn(headerVariables), { error: only(headerVariables) }),
      )
      .refine((headers) => Object.values(headers).some((value) => value.includes('{signature}')), {
        error: 'one header carries {signature}',
      })
      .refine((headers) => Object.keys(headers).every(injectable), {
        error: ({ input }) =>
          `${Object.keys(Object(input))
            .filter((name) => !injectable(name))
            .join(
              ' and ',
            )}: headers of the connection, of the framing and of the proxy are not for rules; use one of your own, e.g. x-signature`,
      }),
    max_body_bytes: bodyLimit,
  }),
])
export type SignSpec = z.infer<typeof signSpec>

/**
 * Whether this signing name is S3's or of its kind: they sign the path as it reads once decoded, letter for letter;
 * every other service the encoded path encoded again.
 */
export function isS3(service: string): boolean {
  return service === 's3' || service === 's3express' || service.startsWith('s3-')
}

/** The stored credentials that a minted one is made from, the one that it belongs to first. */
export function mintInputs(spec: MintedSpec): [string, ...string[]] {
  switch (spec.kind) {
    case 'oauth_client_credentials':
      return [spec.client_secret]
    case 'oauth_refresh_token':
      return spec.client_secret === undefined
        ? [spec.refresh_token]
        : [spec.refresh_token, spec.client_secret]
    case 'github_app':
      return [spec.private_key]
  }
}

/** Where a minted credential's token is asked for. */
export function mintUrl(spec: MintedSpec): URL {
  return new URL(
    spec.kind === 'github_app'
      ? `${spec.api_url.replace(/\/$/, '')}/app/installations/${spec.installation_id}/access_tokens`
      : spec.token_url,
  )
}

/** What AWS Signature Version 4 writes itself. */
const sigv4Headers = ['authorization', 'date', 'x-amz-date', 'x-amz-security-token', 'x-amz-content-sha256']

/** The headers that a signature writes, in lower case; whatever else stood there does not go out. */
export function signedHeaders(spec: SignSpec): readonly string[] {
  return spec.kind === 'hmac' ? Object.keys(spec.headers) : sigv4Headers
}

/** The stored credentials that a signature is made with. */
export function signInputs(spec: SignSpec): string[] {
  if (spec.kind === 'hmac') return [spec.key]
  const { access_key_id, secret_access_key, session_token } = spec
  return [access_key_id, secret_access_key, ...(session_token === undefined ? [] : [session_token])]
}
