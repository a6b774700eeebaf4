import { createHash, createHmac } from 'node:crypto'
import { isS3, type SignSpec } from '../../../catalog/index.ts'
import type { Secret } from '../../../core/index.ts'
import { cgiName, trimmedValue } from '../../request/fields.ts'
import { headerValues } from '../../request/head.ts'
import { percentOctets } from '../../request/percent-octets.ts'

type Sigv4Spec = Extract<SignSpec, { kind: 'aws_sigv4' }>

/** A request as it will leave: `path` and `query` (with its `?`) as they are sent, headers as name, value, … */
export interface Signable {
  method: string
  host: string
  path: string
  query: string
  headers: readonly string[]
}

export interface AwsKeys {
  accessKeyId: string
  secretAccessKey: Secret
  sessionToken: Secret | undefined
}

/** What a caller's own signature asks for; it was made with a placeholder, and only its scope is of use. */
export type Sigv4Scope = { ok: true; region: string; service: string } | { ok: false }

const algorithm = 'AWS4-HMAC-SHA256'
/** Ours to write; whatever a caller has put there is dropped, in every spelling that some server takes for the same. */
const replaced = new Set(['authorization', 'x-amz-date', 'x-amz-security-token', 'date'])

/** In an address they make a signature of its own (version 4, Google's, version 2), beside ours. */
const ofAddress =
  /^(?:x-(?:amz|goog)-(?:algorithm|credential|signature|security-token)|awsaccesskeyid|googleaccessid)$/
/** What S3 is to copy or rename: an object whose path no rule was asked about. */
const ofAnotherObject = ['x-amz-copy-source', 'x-amz-rename-source']

/**
 * The region and service to sign for: what the caller's own signature names, if the rule allows it; without one the
 * first that the rule names. A signature in the address is refused, as there would be two, and so is what reads from
 * another path than the request's own.
 */
export function sigv4Scope(spec: Sigv4Spec, request: Pick<Signable, 'query' | 'headers'>): Sigv4Scope {
  if (queryPairs(request.query).some(([name]) => ofAddress.test(name.toLowerCase()))) return { ok: false }
  if (ofAnotherObject.some((name) => valuesOf(request.headers, name).length > 0)) return { ok: false }
  const [region = '', service = ''] = [spec.regions[0], spec.services[0]]
  const given = valuesOf(request.headers, 'authorization')
  if (given.length === 0) return { ok: true, region, service }
  const scope =
    /^AWS4-HMAC-SHA256 Credential=[^/,\s]+\/\d{8}\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request\s*,/.exec(
      given[0] ?? '',
    )
  if (given.length > 1 || scope === null) return { ok: false }
  const [, askedRegion = '', askedService = ''] = scope
  return spec.regions.includes(askedRegion) && spec.services.includes(askedService)
    ? { ok: true, region: askedRegion, service: askedService }
    : { ok: false }
}

/** How the body enters the signature. */
export type PayloadHash =
  /** The caller states it, and the service holds the body against it; nothing need be held back. */
  | { kind: 'stated'; value: string }
  /** It must be made from the whole body. */
  | { kind: 'needed' }
  /** Signed piece by piece with the caller's placeholder: it cannot be signed again without being rewritten. */
  | { kind: 'impossible' }

export function payloadHash(headers: readonly string[]): PayloadHash {
  const given = valuesOf(headers, 'x-amz-content-sha256')
  const [value] = given
  if (value === undefined) return { kind: 'needed' }
  if (given.length > 1) return { kind: 'impossible' }
  if (
    /^[0-9a-f]{64}$/.test(value) ||
    value === 'UNSIGNED-PAYLOAD' ||
    value === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
  ) {
    return { kind: 'stated', value }
  }
  return { kind: 'impossible' }
}

/**
 * The headers of a request signed by AWS Signature Version 4, in place of any signature that it carried. `bodyHash`
 * is what `payloadHash` states, or the SHA-256 of the body in hex.
 */
export function signSigv4(
  request: Signable,
  keys: AwsKeys,
  scope: { region: string; service: string; bodyHash: string; nowMs: number },
): string[] {
  const { region, service, bodyHash } = scope
  const time = new Date(scope.nowMs).toISOString().replace(/[:-]|\.\d{3}/g, '')
  const headers: string[] = []
  for (let i = 0; i < request.headers.length; i += 2) {
    const name = request.headers[i] ?? ''
    if (!isReplaced(name.toLowerCase())) headers.push(name, request.headers[i + 1] ?? '')
  }
  headers.push('X-Amz-Date', time)
  if (keys.sessionToken !== undefined) headers.push('X-Amz-Security-Token', keys.sessionToken.reveal())
  if (isS3(service) && valuesOf(headers, 'x-amz-content-sha256').length === 0) {
    headers.push('X-Amz-Content-Sha256', bodyHash)
  }
  const { text, signedHeaders } = canonicalRequest({ ...request, headers }, service, bodyHash)
  const credentialScope = `${time.slice(0, 8)}/${region}/${service}/aws4_request`
  // Each character of a header stands for one byte of it.
  const toSign = [algorithm, time, credentialScope, sha256Of(Buffer.from(text, 'latin1'))].join('\n')
  const mac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()
  let key = mac(`AWS4${keys.secretAccessKey.reveal()}`, time.slice(0, 8))
  for (const part of [region, service, 'aws4_request']) key = mac(key, part)
  const signature = mac(key, toSign).toString('hex')
  headers.push(
    'Authorization',
    `${algorithm} Credential=${keys.accessKeyId}/${credentialScope}, SignedHeaders=${signedHeaders}, Signature=${signature}`,
  )
  return headers
}

/**
 * Of Amazon's own fields only those are signed that are spelt with dashes, so no other may pass for one; underscores
 * further on are a name of the caller's, such as of metadata.
 */
function isReplaced(lower: string): boolean {
  const dashed = cgiName(lower)
  if (replaced.has(dashed)) return true
  if (lower === dashed || !dashed.startsWith('x-amz-')) return false
  return !lower.startsWith('x-amz-') || dashed === 'x-amz-content-sha256'
}

/** Host, content type and everything of Amazon's own is signed; what a proxy on the way may change is not. */
function canonicalRequest(request: Signable, service: string, bodyHash: string) {
  const values = new Map<string, string[]>([['host', [request.host]]])
  for (let i = 0; i < request.headers.length; i += 2) {
    const name = (request.headers[i] ?? '').toLowerCase()
    if (name !== 'content-type' && name !== 'content-md5' && !name.startsWith('x-amz-')) continue
    const list = values.get(name) ?? []
    list.push(trimmedValue(request.headers[i + 1] ?? '').replace(/ +/g, ' '))
    values.set(name, list)
  }
  const names = [...values.keys()].sort()
  const signedHeaders = names.join(';')
  const lines = names.map((name) => `${name}:${values.get(name)?.join(',')}\n`).join('')
  const path = isS3(service) ? encodePath(percentOctets(request.path)) : encodePath(request.path)
  const text = [request.method, path, canonicalQuery(request.query), lines, signedHeaders, bodyHash].join(
    '\n',
  )
  return { text, signedHeaders }
}

function canonicalQuery(query: string): string {
  const pairs = queryPairs(query).map(([name, value]) => [encode(name), encode(value)] as const)
  pairs.sort((a, b) => compare(a[0], b[0]) || compare(a[1], b[1]))
  return pairs.map(([name, value]) => `${name}=${value}`).join('&')
}

/** Names and values of a query (with its `?`, or empty), decoded. */
function queryPairs(query: string): (readonly [string, string])[] {
  return query
    .slice(1)
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const [name = '', ...value] = pair.split('=')
      return [
        percentOctets(name.replaceAll('+', ' ')),
        percentOctets(value.join('=').replaceAll('+', ' ')),
      ] as const
    })
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

function encode(text: string): string {
  return text.replace(
    /[^A-Za-z0-9_.~-]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}

function encodePath(path: string): string {
  return path.split('/').map(encode).join('/')
}

export function sha256Of(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

function valuesOf(headers: readonly string[], wanted: string): string[] {
  return headerValues(headers, wanted).map(trimmedValue)
}
