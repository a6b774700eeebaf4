import type { Socket } from 'node:net'
import {
  connect as connectTls,
  createSecureContext,
  getCACertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'
import { LRUCache } from 'lru-cache'
import { inOwnMemory } from '../economy/own-memory.ts'
import { formatAuthority } from '../request/host.ts'
import type { Tuple } from '../request/tuple.ts'
import type { ClientIdentity } from '../secrets/client-identity.ts'
import type { Dial } from './dial.ts'
import { UpstreamError } from './error.ts'

/** Where a connection goes, and for whom it may be used again. */
export interface Place {
  secure: boolean
  host: string
  port: number
  /** Judged addresses; only these are dialled, in order. */
  addresses: readonly string[]
  /** Who the proxy says it is, where the rule names a client's certificate. */
  identity?: ClientIdentity | undefined
  /** Requests with equal keys may share a kept connection; it names principal, lease, rule and the rules' version. */
  poolKey: string
}

/** Equal for two places whose requests may share a connection. No connection is ever shared by two hosts. */
export function poolName({ secure, host, port, addresses, identity, poolKey }: Place): string {
  const at = addresses.length > 1 ? addresses.toSorted().join() : addresses[0]
  return `${secure} ${host} ${port} ${at} ${identity?.id} ${poolKey}`
}

/** The Host header, and HTTP/2's `:authority`. */
export function authorityOf(tuple: Pick<Tuple, 'scheme' | 'host' | 'port'>): string {
  return formatAuthority(tuple.scheme, tuple.host, tuple.port)
}

/** What an upstream's certificate may chain to, with what is shown to those that ask for one. */
export type Trust = (identity: ClientIdentity | undefined) => SecureContext

/** The system's roots and the operator's. Building a context costs milliseconds: one for all, one for each identity. */
export function createTrust(options: { trustedCas: string[]; systemRoots: boolean }): Trust {
  const system = options.systemRoots ? [...getCACertificates('bundled'), ...getCACertificates('system')] : []
  const ca = [...new Set([...system, ...options.trustedCas])]
  const plain = createSecureContext({ ca, minVersion: 'TLSv1.2' })
  const byIdentity = new LRUCache<string, SecureContext>({ max: 100 })
  return (identity) => {
    if (identity === undefined) return plain
    let context = byIdentity.get(identity.id)
    if (context === undefined) {
      const pem = identity.pem.reveal()
      context = createSecureContext({ ca, key: pem, cert: pem, minVersion: 'TLSv1.2' })
      byIdentity.set(identity.id, context)
    }
    return context
  }
}

/** How long a TLS session is resumed; a certificate that has changed meanwhile is looked at after it. */
const sessionMs = 300_000

/** Opens connections to a place: dials what it is told and nothing else, no look-up, no proxy, no other port. */
export type Connect = (place: Place, protocols: readonly string[]) => Promise<Socket | TLSSocket>

export function createConnect(options: { dial: Dial; trust: Trust; dialTimeoutMs: number }): Connect {
  const { dialTimeoutMs: timeoutMs } = options
  // For whoever may use the same connections, nobody else: a session proves nothing anew about the other side.
  const sessions = new LRUCache<string, Buffer>({ max: 2_000, ttl: sessionMs })

  const secure = (socket: Socket, place: Place, protocols: readonly string[]): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const name = poolName(place)
      const session = sessions.get(name)
      const secured = connectTls({
        socket,
        ...(session === undefined ? {} : { session }),
        servername: place.host,
        secureContext: options.trust(place.identity),
        ALPNProtocols: [...protocols],
        rejectUnauthorized: true,
      })
      const fail = (cause: unknown) => {
        clearTimeout(timer)
        sessions.delete(name)
        secured.destroy()
        // Nothing of a request has left before TLS stands, so nobody has to fear that it was acted on.
        reject(
          new UpstreamError(isCertificateError(cause) ? 'upstream_untrusted' : 'upstream_unreachable', cause),
        )
      }
      const timer = setTimeout(() => fail(new Error('the TLS handshake took too long')), timeoutMs)
      secured.on('session', (later) => sessions.set(name, inOwnMemory(later)))
      secured.once('error', fail)
      secured.once('secureConnect', () => {
        clearTimeout(timer)
        secured.removeListener('error', fail)
        resolve(secured)
      })
    })

  return async (place, protocols) => {
    let failure: unknown
    for (const address of place.addresses.slice(0, 4)) {
      try {
        const socket = await options.dial({ address, port: place.port, timeoutMs })
        return place.secure ? await secure(socket, place, protocols) : socket
      } catch (err) {
        // Only a connection that never stood may be tried elsewhere; nothing was sent.
        if (err instanceof UpstreamError) throw err
        failure = err
      }
    }
    throw new UpstreamError('upstream_unreachable', failure)
  }
}

function isCertificateError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return (
    typeof code === 'string' &&
    /^(?:ERR_TLS_CERT_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(?:GET|VERIFY)|HOSTNAME_MISMATCH|INVALID_CA)/.test(
      code,
    )
  )
}
