import { createPrivateKey, sign } from 'node:crypto'
import type { MintedSpec } from '../../../catalog/index.ts'
import { isRecord, parseJson, type Secret } from '../../../core/index.ts'
import { hourMs, lifetimeOf } from './lifetime.ts'
import { asTokenText, type TokenAnswer, type TokenReply, type TokenRequest } from './oauth.ts'

type GithubSpec = Extract<MintedSpec, { kind: 'github_app' }>

/** Asks for an installation access token, as the app itself; throws when the key is no RSA key. */
export function githubRequest(spec: GithubSpec, privateKey: Secret, nowMs: number): TokenRequest {
  const narrowed = {
    ...(spec.repositories.length === 0 ? {} : { repositories: spec.repositories }),
    ...(Object.keys(spec.permissions).length === 0 ? {} : { permissions: spec.permissions }),
  }
  return {
    headers: [
      'Authorization',
      `Bearer ${appJwt(spec.app_id, privateKey, nowMs)}`,
      'Accept',
      'application/vnd.github+json',
      'Content-Type',
      'application/json',
      'User-Agent',
      'toolcrib',
      'X-GitHub-Api-Version',
      '2022-11-28',
    ],
    body: JSON.stringify(narrowed),
  }
}

/** A JWT signed with RS256 (RFC 7515), good for nine minutes; GitHub allows ten, and clocks differ by one. */
function appJwt(appId: string, privateKey: Secret, nowMs: number): string {
  const key = createPrivateKey(privateKey.reveal())
  if (key.asymmetricKeyType !== 'rsa') throw new Error('an app’s key is an RSA key')
  const now = Math.floor(nowMs / 1_000)
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'RS256', typ: 'JWT' })}.${part({ iat: now - 60, exp: now + 540, iss: appId })}`
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`
}

/** A JWT is good a minute before its own time, and it takes a moment to ask. */
const clockLeewayMs = 30_000
/** A machine that is further off has no clock; nothing is signed for a time that far away. */
const clockMostMs = 24 * hourMs

/**
 * How far GitHub's clock is ahead of ours by the `Date` of its answer, where it refused a JWT that far out of its time;
 * undefined for any other answer.
 */
export function clockRefused({ status, headers }: TokenReply, nowMs: number): number | undefined {
  const aheadMs = Date.parse(String(headers['date'])) - nowMs
  const isOff = Math.abs(aheadMs) > clockLeewayMs && Math.abs(aheadMs) <= clockMostMs
  return status === 401 && isOff ? aheadMs : undefined
}

export function readGithubAnswer({ status, headers, body }: TokenReply, nowMs: number): TokenAnswer {
  // By either limit it says 429 or 403, and with one of these fields that it was not about the key.
  const waits = headers['retry-after'] !== undefined || headers['x-ratelimit-remaining'] === '0'
  if (status === 429 || (status === 403 && waits))
    return { kind: 'refused', final: false, code: 'too_many_requests' }
  // 404: no such installation any more; 401: the key is not the app's. Neither is used up by asking.
  if (status >= 400 && status < 500) return { kind: 'refused', final: false, code: `http_${status}` }
  const parsed = parseJson(body)
  if (status !== 201 || !isRecord(parsed)) return { kind: 'unclear' }
  const { token: text, expires_at } = parsed
  const token = asTokenText(text)
  const ends = typeof expires_at === 'string' ? Date.parse(expires_at) : Number.NaN
  if (token === undefined || Number.isNaN(ends)) return { kind: 'unclear' }
  // It says when that is by its own clock, which may not be ours, and when it says so as well (RFC 9110 section 6.6.1).
  const saidAt = Date.parse(String(headers['date']))
  const { usedMs, searchedMs } = lifetimeOf(Math.max(ends - (Number.isNaN(saidAt) ? nowMs : saidAt), 1))
  // GitHub gives an hour.
  const lifetime = { usedMs: Math.min(usedMs, hourMs), searchedMs: Math.max(searchedMs, hourMs) }
  return { kind: 'token', token, lifetime, refreshToken: undefined }
}
