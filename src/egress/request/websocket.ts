import { createHash } from 'node:crypto'
import { type Head, headerValues } from './head.ts'
import { type Canonical, type Destination, type Tuple, tunnelTarget } from './tuple.ts'

/** What a client said that opens a WebSocket (RFC 6455 section 4.1). */
export interface Handshake {
  /** Of the client; its answer must carry `accept`, which proves that a server read it and meant it. */
  key: string
  accept: string
  /** The subprotocols that the client offers; the answer names one of them or none. */
  protocols: readonly string[]
}

/** The method of a WebSocket's tuple: a rule that lets a source read need not let it open a pipe both ways. */
export const webSocketMethod = 'WEBSOCKET'

/** What stands on the wire for a tuple's method. */
export function wireMethod({ method }: Pick<Tuple, 'method'>): string {
  return method === webSocketMethod ? 'GET' : method
}

/** A token, or what Kubernetes names so though it is none: `SPDY/3.1+portforward.k8s.io`, as kubectl offers. */
const subprotocol = /^[!#$%&'*+./^_`|~0-9A-Za-z-]+$/

/** What `Sec-WebSocket-Accept` must be for a `Sec-WebSocket-Key`. */
export function webSocketAccept(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/**
 * A request inside a tunnel to `destination` that asks to become a WebSocket. `upgrade_unsupported` for any other
 * protocol, `websocket_malformed` for a handshake that a server could read in two ways; otherwise judged like any
 * request, so that a rule decides on its tuple.
 */
export function webSocketTarget(
  head: Head,
  destination: Destination,
): Canonical<{ tuple: Tuple; handshake: Handshake }> {
  const refuse = (reason: 'upgrade_unsupported' | 'websocket_malformed') => ({ ok: false, reason }) as const
  const upgrade = headerValues(head.rawHeaders, 'upgrade')
  if (upgrade.length !== 1 || upgrade[0]?.toLowerCase() !== 'websocket') return refuse('upgrade_unsupported')
  const canonical = tunnelTarget(head, destination, true)
  if (!canonical.ok) return canonical
  const handshake = readHandshake(head)
  if (handshake === undefined) return refuse('websocket_malformed')
  return { ok: true, tuple: { ...canonical.tuple, method: webSocketMethod }, handshake }
}

function readHandshake({ method, httpVersion, rawHeaders }: Head): Handshake | undefined {
  if (method !== 'GET' || httpVersion !== '1.1') return undefined
  const connection = listOf(rawHeaders, 'connection')
  if (!connection.some((option) => option.toLowerCase() === 'upgrade')) return undefined
  const [version, ...versions] = headerValues(rawHeaders, 'sec-websocket-version')
  if (version !== '13' || versions.length > 0) return undefined
  const [key, ...keys] = headerValues(rawHeaders, 'sec-websocket-key')
  // Sixteen bytes, in the one way in which base64 writes them.
  if (key === undefined || keys.length > 0 || !/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(key)) return undefined
  const protocols = listOf(rawHeaders, 'sec-websocket-protocol')
  if (protocols.some((name) => !subprotocol.test(name)) || new Set(protocols).size !== protocols.length) {
    return undefined
  }
  return { key, accept: webSocketAccept(key), protocols }
}

/**
 * Whether an answer proves that a server read this handshake and meant it (RFC 6455 section 4.1): 101, the digest of
 * the key, a subprotocol that was offered or none, and no extension, for none was.
 */
export function provesHandshake(
  { accept, protocols }: Handshake,
  answer: { status: number; rawHeaders: readonly string[] },
): boolean {
  const values = (name: string) => headerValues(answer.rawHeaders, name)
  const [upgrade, ...upgrades] = values('upgrade')
  const [accepted, ...others] = values('sec-websocket-accept')
  const chosen = values('sec-websocket-protocol')
  return (
    answer.status === 101 &&
    upgrade?.toLowerCase() === 'websocket' &&
    upgrades.length === 0 &&
    listOf(answer.rawHeaders, 'connection').some((option) => option.toLowerCase() === 'upgrade') &&
    accepted === accept &&
    others.length === 0 &&
    chosen.length <= 1 &&
    chosen.every((protocol) => protocols.includes(protocol)) &&
    values('sec-websocket-extensions').length === 0
  )
}

function listOf(rawHeaders: readonly string[], name: string): string[] {
  return headerValues(rawHeaders, name).flatMap((value) => value.split(',').map((part) => part.trim()))
}
