/** Fields that alternate with their values, as pairs. */
export function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i < flat.length; i += 2) pairs.push([flat[i] ?? '', flat[i + 1] ?? ''])
  return pairs
}

/** A value without the space that HTTP allows around it: to `trim` the last byte of `à` is space, too. */
export function trimmedValue(value: string): string {
  let start = 0
  let end = value.length
  // By hand: an expression for the end of a text begins anew at each space in the midst of it.
  while (isSpace(value.charCodeAt(end - 1))) end -= 1
  while (start < end && isSpace(value.charCodeAt(start))) start += 1
  return start === 0 && end === value.length ? value : value.slice(start, end)
}

const isSpace = (code: number) => code === 0x20 || code === 0x09

/**
 * A field's name as CGI, WSGI and their like read it: `X_Api_Key` is `x-api-key` to them, and to some that take every
 * mark for an underscore, as lighttpd does, so is `X.Api!Key`.
 */
export function cgiName(name: string): string {
  const lower = name.toLowerCase()
  return /[^a-z0-9-]/.test(lower) ? lower.replace(/[^a-z0-9-]/g, '-') : lower
}

/**
 * Fields by which some servers let a request be another one than its first line says: method, path, or host. As
 * `cgiName` spells them.
 */
export const overrideFields: ReadonlySet<string> = new Set([
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
  'x-override-url',
  'x-forwarded-uri',
  'x-forwarded-path',
  'x-forwarded-host',
  'x-host',
  'x-http-host-override',
  'x-envoy-original-path',
  'x-envoy-original-dst-host',
  // A part of the path that is taken off it, or put before it: Gunicorn's, and what stands before WSGI programs.
  'script-name',
  'path-info',
  'x-script-name',
  'x-forwarded-prefix',
  'x-forwarded-server',
])

/** Whether a `Forwarded` (RFC 7239) names the host that was asked: Rack, Symfony and Spring take it for the request's. */
export function forwardsHost(value: string): boolean {
  return /(?:^|[;,])[ \t]*host[ \t]*=/i.test(value)
}

/**
 * Whether a field, by `cgiName`, is said to a proxy. `Proxy` is said to none: programs of CGI find it as `HTTP_PROXY`,
 * and send by way of it what they ask others for (httpoxy, CVE-2016-5385 and its like).
 */
export function isToProxy(name: string): boolean {
  return name === 'proxy' || name.startsWith('proxy-')
}

// RFC 9110 section 6.5.1: what frames, routes, authenticates or changes the meaning of a message is no trailer.
const neverTrailers = new Set([
  'age',
  'authorization',
  'cache-control',
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expect',
  'expires',
  'forwarded',
  'host',
  'keep-alive',
  'location',
  'max-forwards',
  'pragma',
  'range',
  'retry-after',
  'set-cookie',
  'set-cookie2',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'vary',
  'warning',
  'www-authenticate',
  'alt-svc',
])

/** Some servers read trailer fields as if they stood in the head, so what is refused there is none here. */
function mayTrail(name: string): boolean {
  const read = cgiName(name)
  if (neverTrailers.has(read) || overrideFields.has(read) || isToProxy(read) || read === denialField)
    return false
  return !name.startsWith(':') && !/^(?:if-|access-control-)/.test(read)
}

/** The trailer fields that may go on to the next hop. */
export function forwardedTrailers(flat: readonly string[]): string[] {
  return pairsOf(flat)
    .filter(([name]) => mayTrail(name))
    .flat()
}

/**
 * Of the names in a `Trailer` field (RFC 9110 section 6.6.2) those that may go on, in one text that is empty where
 * none may. By HTTP/2 Go's server gives its programs no trailer that was not announced.
 */
export function announcedTrailers(value: string): string {
  return value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name) && mayTrail(name))
    .join(', ')
}

/** In which a refusal says why: a word of the proxy's own, which no upstream's answer has. */
export const denialField = 'x-toolcrib-denied'

/** RFC 9113 section 8.2.2: fields of one hop of HTTP/1.1, which have no place in HTTP/2. */
export const oneHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/**
 * Of a session by HTTP/2. It counts twelve bytes more a field than are sent, and by 64 KiB, its default, a head of many
 * short fields that HTTP/1.1 let in would not go out again.
 */
export const maxSendHeaderBlockLength = 1024 * 1024

/** The size of a head or of trailers as RFC 9113 section 6.5.2 counts it. */
export function headerListSize(flat: readonly string[]): number {
  return flat.reduce((size, text) => size + text.length, (flat.length / 2) * 32)
}

/**
 * How many fields a head by HTTP/2 may have: as many as fit into its bytes as HTTP/2 counts them, 32 more each. Node's
 * own limit of 128 would refuse heads that HTTP/1.1 lets through.
 */
export function maxHeaderListPairs(headerBytes: number): number {
  return Math.max(128, Math.ceil(headerBytes / 32))
}

// Node refuses to write a second line of these by HTTP/2, whoever sent it.
const oneLine = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
])

/**
 * The same fields as HTTP/2 has them: in lower case, without Host and what concerns one hop of HTTP/1.1. Lines of one
 * name stay lines; where Node takes one only they are joined, which changes nothing of what they say (RFC 9110
 * section 5.3).
 */
export function http2Headers(flat: readonly string[]): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = Object.create(null)
  for (const [name, value] of pairsOf(flat)) {
    const lower = name.toLowerCase()
    if (oneHop.has(lower) || lower === 'host' || lower === 'te' || lower.startsWith(':')) continue
    const before = headers[lower]
    if (before === undefined) headers[lower] = value
    else if (typeof before !== 'string') before.push(value)
    else headers[lower] = oneLine.has(lower) ? `${before}, ${value}` : [before, value]
  }
  return headers
}
