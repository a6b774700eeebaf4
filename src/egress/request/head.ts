/** The head of a request as the parser saw it: nothing merged, nothing dropped. */
export interface Head {
  method: string
  target: string
  httpVersion: string
  /** Names and values alternating, in the order of the wire. */
  rawHeaders: readonly string[]
}

export type HeadRefusal =
  | 'host_missing'
  | 'host_duplicate'
  | 'method_forbidden'
  | 'framing_forbidden'
  | 'body_forbidden'
  | 'upgrade_unsupported'
  | 'override_forbidden'
  | 'http_version'
  | 'expectation_unknown'
  | 'websocket_malformed'

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT'])
// Headers by which some servers let a request be another one than its first line says: method, path, or host.
const overrides = new Set([
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-forwarded-method',
  'x-original-method',
  'x-original-url',
  'x-original-uri',
  'x-original-path',
  'x-original-host',
  'x-rewrite-url',
  'x-rewrite-uri',
  'x-forwarded-uri',
  'x-forwarded-path',
  'x-forwarded-host',
  'x-host',
  'x-http-host-override',
  'x-envoy-original-path',
])

/** Every value of a header, in order; `name` in lower case. */
export function headerValues(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name) values.push(rawHeaders[i + 1] ?? '')
  }
  return values
}

/**
 * What is wrong with a head whatever its target is; undefined when nothing is. Node's parser has refused most
 * smuggling already (both lengths, bad chunks, folded lines); this refuses what it lets through. `upgrades` leaves
 * the judgement of `Upgrade` to the caller.
 */
export function refuseHead(head: Head, upgrades = false): HeadRefusal | undefined {
  const { method, rawHeaders } = head
  if (!methods.has(method)) return 'method_forbidden'
  const hosts = headerValues(rawHeaders, 'host')
  if (hosts.length > 1) return 'host_duplicate'
  // Older Python opens its tunnels with HTTP/1.0 and no Host; nothing else has a reason to.
  if (hosts.length === 0 && method !== 'CONNECT') return 'host_missing'
  const encodings = headerValues(rawHeaders, 'transfer-encoding')
  const lengths = headerValues(rawHeaders, 'content-length')
  if (head.httpVersion !== '1.1' && (head.httpVersion !== '1.0' || encodings.length > 0))
    return 'http_version'
  if (encodings.length > 1 || lengths.length > 1 || encodings.length + lengths.length > 1) {
    return 'framing_forbidden'
  }
  if (encodings[0] !== undefined && encodings[0].toLowerCase() !== 'chunked') return 'framing_forbidden'
  if (lengths[0] !== undefined && !/^(?:0|[1-9][0-9]{0,15})$/.test(lengths[0])) return 'framing_forbidden'
  const hasBody = encodings.length > 0 || (lengths[0] !== undefined && lengths[0] !== '0')
  if (hasBody && (method === 'GET' || method === 'HEAD' || method === 'CONNECT')) return 'body_forbidden'
  // RFC 9110 section 10.1.1: a server that does not know what is expected must not act as if it did.
  if (headerValues(rawHeaders, 'expect').some((value) => value.toLowerCase() !== '100-continue'))
    return 'expectation_unknown'
  for (let i = 0; i < rawHeaders.length; i += 2) {
    // CGI, WSGI and their like read `X_Original_URL` as `X-Original-URL`.
    const name = rawHeaders[i]?.toLowerCase().replaceAll('_', '-') ?? ''
    if (name === 'http2-settings' || (name === 'upgrade' && !upgrades)) return 'upgrade_unsupported'
    if (overrides.has(name)) return 'override_forbidden'
  }
  return undefined
}
