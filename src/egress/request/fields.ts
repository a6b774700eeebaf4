/** Fields that alternate with their values, as pairs. */
export function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i < flat.length; i += 2) pairs.push([flat[i] ?? '', flat[i + 1] ?? ''])
  return pairs
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

/** The trailer fields that may go on to the next hop. */
export function forwardedTrailers(flat: readonly string[]): string[] {
  return pairsOf(flat)
    .filter(([name]) => {
      const lower = name.toLowerCase().replaceAll('_', '-')
      return !neverTrailers.has(lower) && !/^(?:proxy-|if-|access-control-|:)/.test(lower)
    })
    .flat()
}

/** RFC 9113 section 8.2.2: fields of one hop of HTTP/1.1, which have no place in HTTP/2. */
export const oneHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** The same fields as HTTP/2 has them: in lower case, without Host and what concerns one hop of HTTP/1.1. */
export function http2Headers(flat: readonly string[]): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = Object.create(null)
  for (const [name, value] of pairsOf(flat)) {
    const lower = name.toLowerCase()
    if (oneHop.has(lower) || lower === 'host' || lower.startsWith(':')) continue
    const before = headers[lower]
    headers[lower] = before === undefined ? value : [before, value].flat()
  }
  return headers
}
