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
