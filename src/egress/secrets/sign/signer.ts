import type { SignSpec } from '../../../catalog/index.ts'
import type { Secret } from '../../../core/index.ts'
import { hmacKey, hmacNeedsBody, signHmac } from './hmac.ts'
import { payloadHash, type Signable, sha256Of, signSigv4, sigv4Scope } from './sigv4.ts'

/** What the caller sent: its own fields say what may be signed, and how its body enters. */
export interface Unsigned {
  query: string
  rawHeaders: readonly string[]
}

/** How one request will be signed. */
export interface SigningPlan {
  /** The longest body to hold back for the signature; undefined when the body can pass as it comes. */
  holdBytes: number | undefined
  /** The fields to send instead of `request.headers`; `body` is whole if it was held back, empty otherwise. */
  sign(request: Signable, body: Buffer, nowMs: number): string[]
}

/** Ready to sign the requests of one rule for one person; the key is never sent. */
export interface Signer {
  /** The stored credentials that it signs with, by name. */
  credentials: readonly string[]
  /** Undefined when the request asks for what the rule does not allow. */
  plan(unsigned: Unsigned): SigningPlan | undefined
}

/** Undefined when a value is not what the rule says it is. */
export function createSigner(spec: SignSpec, values: ReadonlyMap<string, Secret>): Signer | undefined {
  const credentials = [...values.keys()]
  if (spec.kind === 'hmac') {
    const secret = values.get(spec.key)
    const key = secret === undefined ? undefined : hmacKey(spec, secret)
    if (key === undefined) return undefined
    const holdBytes = hmacNeedsBody(spec) ? spec.max_body_bytes : undefined
    return {
      credentials,
      plan: () => ({
        holdBytes,
        sign: (request, body, nowMs) => signHmac(spec, request, { key, body, nowMs }),
      }),
    }
  }
  const accessKeyId = values.get(spec.access_key_id)?.reveal()
  const secretAccessKey = values.get(spec.secret_access_key)
  const sessionToken = spec.session_token === undefined ? undefined : values.get(spec.session_token)
  if (accessKeyId === undefined || !/^[\w-]{8,128}$/.test(accessKeyId) || secretAccessKey === undefined)
    return undefined
  const keys = { accessKeyId, secretAccessKey, sessionToken }
  return {
    credentials,
    plan({ query, rawHeaders }) {
      const scope = sigv4Scope(spec, { query, headers: rawHeaders })
      const payload = payloadHash(rawHeaders)
      if (!scope.ok || payload.kind === 'impossible') return undefined
      return {
        holdBytes: payload.kind === 'needed' ? spec.max_body_bytes : undefined,
        sign(request, body, nowMs) {
          const bodyHash = payload.kind === 'stated' ? payload.value : sha256Of(body)
          return signSigv4(request, keys, { ...scope, bodyHash, nowMs })
        },
      }
    },
  }
}
