import type { MintedSpec } from '../../../catalog/index.ts'
import { isRecord, parseJson, Secret } from '../../../core/index.ts'
import { type Lifetime, lifetimeOf } from './lifetime.ts'

/** What a token endpoint is asked: a POST to its path, the body whole. */
export interface TokenRequest {
  headers: string[]
  body: string
}

/** A token endpoint's answer as it came, its fields by lower-case name. */
export interface TokenReply {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: string
}

/** What a token endpoint said. Only `token` and `refused` are certain; anything else may have used the grant up. */
export type TokenAnswer =
  | { kind: 'token'; token: Secret; lifetime: Lifetime; refreshToken: Secret | undefined }
  /**
   * `final`: the grant itself is no longer good, so asking again is no use. `refreshToken`: the one to ask with from
   * now on, where the server gave what is no token for us and yet spent the old one.
   */
  | { kind: 'refused'; final: boolean; code: string; refreshToken?: Secret | undefined }
  | { kind: 'unclear' }

type OAuthSpec = Extract<MintedSpec, { kind: `oauth_${string}` }>

/** The access token request of RFC 6749, sections 4.4.2 and 6. */
export function oauthRequest(
  spec: OAuthSpec,
  inputs: { clientSecret: Secret | undefined; refreshToken: Secret | undefined },
): TokenRequest {
  const form = new URLSearchParams(spec.parameters)
  if (spec.kind === 'oauth_client_credentials') form.set('grant_type', 'client_credentials')
  else {
    form.set('grant_type', 'refresh_token')
    form.set('refresh_token', inputs.refreshToken?.reveal() ?? '')
  }
  if (spec.scopes.length > 0) form.set('scope', spec.scopes.join(' '))
  const headers = ['Content-Type', 'application/x-www-form-urlencoded', 'Accept', 'application/json']
  const secret = inputs.clientSecret?.reveal()
  if (spec.client_auth === 'basic' && secret !== undefined) {
    headers.push('Authorization', `Basic ${basicCredentials(spec.client_id, secret)}`)
  } else {
    form.set('client_id', spec.client_id)
    if (secret !== undefined) form.set('client_secret', secret)
  }
  return { headers, body: form.toString() }
}

/** Section 2.3.1: both parts are form-encoded before they are joined. */
function basicCredentials(id: string, secret: string): string {
  const encode = (text: string) => new URLSearchParams({ '': text }).toString().slice(1)
  return Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')
}

/** The errors of RFC 6749, section 5.2. What else a server writes there is its own text, and may quote ours. */
const errorCodes = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
]

/** Of those that answer 200 to everything: the server fell over, and may have spent the refresh token before. */
const serverFailed = /server|internal|fatal|time_?out|unavailable/i
/** RFC 9449 and its like: with each request the client shows a key. Any other name is of a bearer token. */
const needsProof = /^(?:dpop|mac|pop)$/i

/**
 * Reads the answer of RFC 6749, sections 5.1 and 5.2. A refusal counts as certain only as that section writes it: a
 * client error with a JSON `error`; or 429, by which a server says that it did not look. Slack and GitHub write the
 * same `error` with 200, in place of a token.
 */
export function readOAuthAnswer({ status, body }: Pick<TokenReply, 'status' | 'body'>): TokenAnswer {
  if (status === 429) return { kind: 'refused', final: false, code: 'too_many_requests' }
  const parsed = parseJson(body)
  if (!isRecord(parsed)) return { kind: 'unclear' }
  if (status >= 400 && status < 500) return refusal(parsed['error']) ?? { kind: 'unclear' }
  return status >= 200 && status < 300 ? readSuccess(parsed) : { kind: 'unclear' }
}

function readSuccess(answer: Record<string, unknown>): TokenAnswer {
  const { error, access_token, token_type, expires_in, refresh_token } = answer
  if (isNone(access_token)) {
    const failed = typeof error === 'string' && serverFailed.test(error)
    return (failed ? undefined : refusal(error)) ?? { kind: 'unclear' }
  }
  const refreshToken = isNone(refresh_token) ? undefined : asTokenText(refresh_token)
  if (refreshToken === undefined && !isNone(refresh_token)) return { kind: 'unclear' }
  if (typeof token_type === 'string' && needsProof.test(token_type))
    return { kind: 'refused', final: false, code: 'token_type', refreshToken }
  const token = asTokenText(access_token)
  if (token !== undefined) return { kind: 'token', token, lifetime: lifetime(expires_in), refreshToken }
  return refreshToken === undefined
    ? { kind: 'unclear' }
    : { kind: 'refused', final: false, code: 'token_unusable', refreshToken }
}

function refusal(error: unknown): TokenAnswer | undefined {
  if (typeof error !== 'string' || !/^[\x20-\x7e]{1,60}$/.test(error)) return undefined
  const code = errorCodes.includes(error) ? error : 'other_error'
  return { kind: 'refused', final: error === 'invalid_grant', code }
}

function isNone(value: unknown): boolean {
  return value === undefined || value === null || value === ''
}

/** A token as a header can carry it (RFC 6750 allows less). */
export function asTokenText(value: unknown): Secret | undefined {
  return typeof value === 'string' && /^[\x21-\x7e]{8,16384}$/.test(value) ? new Secret(value) : undefined
}

/** RFC 6749 section 5.1 only recommends to state it; some write the number as a text. */
function lifetime(expiresIn: unknown): Lifetime {
  const seconds = typeof expiresIn === 'string' ? Number(expiresIn) : expiresIn
  return lifetimeOf(typeof seconds === 'number' ? seconds * 1_000 : undefined)
}
