import { oneHop } from './fields.ts'
import { headerValues } from './head.ts'
import { type Destination, type Tuple, type TupleRefusal, tunnelTarget } from './tuple.ts'

/** The fields of an HTTP/2 request as they came: pseudo-header fields apart from the rest. */
export interface Http2Fields {
  pseudo: ReadonlyMap<string, string>
  /** Fields alternating with values, in the order of the wire; crumbs of a cookie put together again. */
  regular: readonly string[]
  /** False where RFC 9113 section 8 calls the request malformed. */
  wellFormed: boolean
}

const pseudoNames = new Set([':method', ':scheme', ':authority', ':path', ':protocol'])

/** Splits the fields of a request and says whether HTTP/2 allows them; nothing is dropped or mended. */
export function http2Fields(fields: readonly string[]): Http2Fields {
  const pseudo = new Map<string, string>()
  const regular: string[] = []
  const crumbs: string[] = []
  let wellFormed = fields.length % 2 === 0
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? ''
    const value = fields[i + 1] ?? ''
    if (/[^\t\x20-\x7e\x80-\xff]/.test(value) || /^[ \t]|[ \t]$/.test(value)) wellFormed = false
    if (name.startsWith(':')) {
      // They come first, each once, and there are no others.
      if (regular.length > 0 || pseudo.has(name) || !pseudoNames.has(name)) wellFormed = false
      if (!pseudo.has(name)) pseudo.set(name, value)
    } else {
      if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) || oneHop.has(name)) wellFormed = false
      if (name === 'te' && value.toLowerCase() !== 'trailers') wellFormed = false
      if (name === 'cookie') crumbs.push(value)
      regular.push(...(name === 'cookie' ? [] : [name, value]))
    }
  }
  // RFC 9113 section 8.2.3: what goes on to HTTP/1.1 or is judged as one field must be one field.
  if (crumbs.length > 0) regular.push('cookie', crumbs.join('; '))
  return { pseudo, regular, wellFormed }
}

/**
 * An HTTP/2 request inside a tunnel to `destination`, held to the same form as one by HTTP/1.1: `:authority` and a
 * `host` beside it must both be that destination. `hasBody` says that its head did not end the stream.
 */
export function http2Target(
  { pseudo, regular, wellFormed }: Http2Fields,
  destination: Destination,
  hasBody: boolean,
): { ok: true; tuple: Tuple } | { ok: false; reason: TupleRefusal } {
  const refuse = (reason: TupleRefusal) => ({ ok: false, reason }) as const
  const method = pseudo.get(':method')
  // RFC 8441 opens WebSockets by an extended CONNECT; those come by HTTP/1.1 here. What was not offered Node's parser
  // resets before it comes here, and this is for the day when it does not.
  if (pseudo.has(':protocol')) return refuse('upgrade_unsupported')
  if (method === 'CONNECT') return refuse('connect_in_tunnel')
  const target = pseudo.get(':path')
  if (!wellFormed || method === undefined || target === undefined) return refuse('http2_malformed')
  if (pseudo.get(':scheme') !== 'https') return refuse('http2_malformed')
  const authority = pseudo.get(':authority')
  if (authority === undefined) return refuse('host_missing')
  const hosts = headerValues(regular, 'host')
  if (hosts[0] !== undefined && hosts[0] !== authority) return refuse('host_mismatch')
  const rawHeaders = hosts.length === 0 ? ['host', authority, ...regular] : regular
  const canonical = tunnelTarget({ method, target, httpVersion: '1.1', rawHeaders }, destination)
  if (canonical.ok && hasBody && (method === 'GET' || method === 'HEAD')) return refuse('body_forbidden')
  return canonical
}
