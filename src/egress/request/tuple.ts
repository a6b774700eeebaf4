import { keyPath, type PathRefusal, requestPath, schemePort } from '../../catalog/index.ts'
import { type Head, type HeadRefusal, headerValues, refuseHead } from './head.ts'
import { formatAuthority, parseAuthority } from './host.ts'
import { queryMethods } from './query-override.ts'

/** Where a tunnel goes. */
export interface Destination {
  host: string
  port: number
}

/** What a request is, in one spelling: the same bytes are matched, resolved, dialled, sent and recorded. */
export interface Tuple extends Destination {
  scheme: 'http' | 'https'
  method: string
  path: string
  /** Sent on with the path; never matched but for `perhaps`, and never recorded. */
  query: string
  /** Methods that its query names too, by which some server may act in place of its own; left out where there are none. */
  perhaps?: readonly string[]
  /** Its path has in it what only the key of an object may (`keyPath`); left out where it has not. */
  isKey?: true
}

export type TupleRefusal =
  | HeadRefusal
  | PathRefusal
  | 'target_malformed'
  | 'userinfo_forbidden'
  | 'host_malformed'
  | 'host_mismatch'
  | 'port_missing'
  | 'https_needs_connect'
  | 'connect_in_tunnel'
  | 'http2_malformed'

export type Canonical<T> = ({ ok: true } & T) | { ok: false; reason: TupleRefusal }
const refuse = (reason: TupleRefusal) => ({ ok: false, reason }) as const

/** `CONNECT host:port`. A Host header, if there is one, must name the same place. */
export function connectTarget(head: Head): Canonical<{ destination: Destination }> {
  const wrong = refuseHead(head)
  if (wrong !== undefined) return refuse(wrong)
  if (head.method !== 'CONNECT') return refuse('method_forbidden')
  const authority = parseAuthority(head.target)
  if (!authority.ok) return refuse(authority.userinfo ? 'userinfo_forbidden' : 'host_malformed')
  if (authority.port === undefined) return refuse('port_missing')
  const [hostHeader] = headerValues(head.rawHeaders, 'host')
  if (hostHeader !== undefined) {
    const host = parseAuthority(hostHeader)
    if (!host.ok || host.host !== authority.host || (host.port ?? authority.port) !== authority.port) {
      return refuse('host_mismatch')
    }
  }
  return { ok: true, destination: { host: authority.host, port: authority.port } }
}

/** `GET http://host/path` as sent to a forward proxy; only plain http comes this way. */
export function forwardTarget(head: Head): Canonical<{ tuple: Tuple }> {
  const wrong = refuseHead(head)
  if (wrong !== undefined) return refuse(wrong)
  if (head.method === 'CONNECT') return refuse('method_forbidden')
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)/.exec(head.target)
  // Not by the same expression: one that finds no end tries every border between its parts, of which there are thousands.
  if (match === null || head.target.includes('#')) return refuse('target_malformed')
  const [start, scheme = '', rawAuthority = ''] = match
  const rest = head.target.slice(start.length)
  if (scheme.toLowerCase() === 'https') return refuse('https_needs_connect')
  if (scheme.toLowerCase() !== 'http') return refuse('target_malformed')
  const authority = parseAuthority(rawAuthority)
  if (!authority.ok) return refuse(authority.userinfo ? 'userinfo_forbidden' : 'host_malformed')
  return complete(head, 'http', { host: authority.host, port: authority.port ?? schemePort('http') }, rest)
}

/**
 * `GET /path` inside a tunnel that was opened to `destination`. `upgrades` is for `webSocketTarget`, which judges
 * the header of that name itself.
 */
export function tunnelTarget(
  head: Head,
  destination: Destination,
  upgrades = false,
): Canonical<{ tuple: Tuple }> {
  if (head.method === 'CONNECT') return refuse('connect_in_tunnel')
  const wrong = refuseHead(head, upgrades)
  if (wrong !== undefined) return refuse(wrong)
  if (!head.target.startsWith('/')) return refuse('target_malformed')
  return complete(head, 'https', destination, head.target)
}

function complete(
  head: Head,
  scheme: 'http' | 'https',
  destination: Destination,
  target: string,
): Canonical<{ tuple: Tuple }> {
  const claimed = headerValues(head.rawHeaders, 'host')[0] ?? ''
  // Nearly always it is the destination letter by letter, which was read already.
  if (claimed !== formatAuthority(scheme, destination.host, destination.port)) {
    const host = parseAuthority(claimed)
    if (!host.ok) return refuse(host.userinfo ? 'userinfo_forbidden' : 'host_malformed')
    const port = host.port ?? schemePort(scheme)
    if (host.host !== destination.host || port !== destination.port) return refuse('host_mismatch')
  }
  const origin = target.startsWith('/') ? target : `/${target}`
  const plain = requestPath(origin)
  const path = plain.ok ? plain : keyPath(origin)
  // Whoever meant no key hears what is wrong with the path.
  if (!path.ok) return refuse(plain.ok ? path.reason : plain.reason)
  const { overrides, perhaps } = queryMethods(path.query, head.method)
  if (overrides) return refuse('override_forbidden')
  const tuple: Tuple = { scheme, ...destination, method: head.method, path: path.path, query: path.query }
  if (!plain.ok) tuple.isKey = true
  return { ok: true, tuple: perhaps.length === 0 ? tuple : { ...tuple, perhaps } }
}
