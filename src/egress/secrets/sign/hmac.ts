import { createHash, createHmac, randomBytes } from 'node:crypto'
import type { SignedVariable, SignSpec } from '../../../catalog/index.ts'
import type { Secret } from '../../../core/index.ts'
import { cgiName } from '../../request/fields.ts'
import type { Signable } from './sigv4.ts'

type HmacSpec = Extract<SignSpec, { kind: 'hmac' }>

/** The key's bytes; undefined when the stored text is not in the encoding that the rule names, or far too short. */
export function hmacKey(spec: HmacSpec, secret: Secret): Buffer | undefined {
  const text = secret.reveal()
  if (spec.key_encoding === 'hex' && !/^(?:[0-9a-fA-F]{2})+$/.test(text)) return undefined
  if (spec.key_encoding === 'base64' && !/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return undefined
  const key = Buffer.from(text, spec.key_encoding)
  return key.length < 8 ? undefined : key
}

/** Whether the message holds anything of the body, so that it must be here before the head can leave. */
export function hmacNeedsBody(spec: HmacSpec): boolean {
  return /\{body(?:_sha256_(?:hex|base64))?\}/.test(spec.message)
}

/** The headers of the request with those that the rule signs it by, in place of any of the same name. */
export function signHmac(
  spec: HmacSpec,
  request: Signable,
  made: { key: Buffer; body: Buffer; nowMs: number },
): string[] {
  const now = new Date(made.nowMs)
  const sha256 = (encoding: 'hex' | 'base64') => createHash('sha256').update(made.body).digest(encoding)
  const nonce = randomBytes(16).toString('hex')
  const values: Record<SignedVariable, () => string | Buffer> = {
    method: () => request.method,
    host: () => request.host,
    path: () => request.path,
    query: () => request.query.slice(1),
    target: () => request.path + request.query,
    timestamp: () => String(Math.floor(made.nowMs / 1_000)),
    timestamp_ms: () => String(made.nowMs),
    date: () => now.toUTCString(),
    iso_date: () => now.toISOString(),
    nonce: () => nonce,
    body: () => made.body,
    body_sha256_hex: () => sha256('hex'),
    body_sha256_base64: () => sha256('base64'),
  }
  const mac = createHmac(spec.algorithm, made.key)
  // Text between variables and variables in turn; what a variable brings is never read as a template again.
  for (const [i, part] of spec.message.split(/\{([^{}]*)\}/).entries()) {
    mac.update(i % 2 === 0 ? part : values[part as SignedVariable]())
  }
  const signature = mac.digest(spec.signature_encoding)
  const fill = (template: string) =>
    template.replace(/\{([^{}]*)\}/g, (_, name: string) =>
      name === 'signature' ? signature : String(values[name as SignedVariable]()),
    )
  const headers: string[] = []
  for (let i = 0; i < request.headers.length; i += 2) {
    const name = request.headers[i] ?? ''
    const given = cgiName(name)
    if (!Object.hasOwn(spec.headers, given)) headers.push(name, request.headers[i + 1] ?? '')
  }
  for (const [name, template] of Object.entries(spec.headers)) headers.push(name, fill(template))
  return headers
}
