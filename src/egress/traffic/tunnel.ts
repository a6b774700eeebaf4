import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import { handOver } from '../bounds/fair-reading.ts'
import type { Rounds } from '../bounds/rounds.ts'
import type { DenialReason } from '../decision/denial.ts'
import type { Identity } from '../leases/leases.ts'
import type { Destination } from '../request/tuple.ts'

/**
 * How long a client that has ended may take to read what is still on its way to it, and again for as long as more
 * leaves: a WebSocket's server may have messages to say before it closes (RFC 6455 section 5.5.1).
 */
const lingerMs = 1_000
/** However much still leaves. */
const mostLingerMs = 60_000

/** What answers a CONNECT that is let through. */
export const established = 'HTTP/1.1 200 Connection Established\r\n\r\n'

/** A tunnel whose TLS is ended here: whose it is and where it was allowed to go. */
export interface Tunnel {
  identity: Identity
  destination: Destination
  /** A request began, or ended: while none is under way the tunnel may only idle so long. */
  began(): void
  ended(): void
  end(): void
}

/**
 * Speaks TLS as `destination.host` on a socket whose CONNECT was answered. `ready` gets the decrypted socket once
 * the client has finished its handshake and named exactly that host; anything else is refused once, with the
 * reason, and closed. `closed` is called once, however it ends.
 */
export function openTunnel(options: {
  socket: Socket
  identity: Identity
  destination: Destination
  context: SecureContext
  rounds: Rounds
  handshakeTimeoutMs: number
  idleTimeoutMs: number
  ready: (secured: TLSSocket, tunnel: Tunnel) => void
  refused: (reason: DenialReason) => void
  closed: () => void
}): Tunnel {
  const { socket, destination } = options
  let named = false
  let mismatch = false
  let isSecure = false
  let underWay = 0
  /** Once the client has ended. */
  let lingersUntil = Number.POSITIVE_INFINITY
  let lingersAtMost = Number.POSITIVE_INFINITY
  let leftBefore = 0
  let gone = false

  // A client that does not wait for the answer to its CONNECT.
  handOver(socket)
  const secured = new TLSSocket(socket, {
    isServer: true,
    secureContext: options.context,
    ALPNProtocols: ['h2', 'http/1.1'],
    SNICallback: (name, done) => {
      named = name.toLowerCase() === destination.host
      mismatch = !named
      if (named) done(null)
      else done(new Error('the server name is not the host of the tunnel'))
    },
  })

  const close = () => {
    if (gone) return
    gone = true
    leave()
    secured.destroy()
    socket.destroy()
    options.closed()
  }
  const refuse = (reason: DenialReason) => {
    if (gone) return
    options.refused(reason)
    close()
  }
  const now = () => performance.now()
  /** It ends then, unless something has left meanwhile; infinite while a request is under way. */
  let until = now() + options.handshakeTimeoutMs
  // What waits does not count: to a client that is gone it may do so for good.
  const left = () => secured.bytesWritten - secured.writableLength
  const linger = () => {
    leftBefore = left()
    lingersUntil = Math.min(now() + lingerMs, lingersAtMost)
    until = lingersUntil
  }
  const leave = options.rounds.watch((at) => {
    if (until > at) return false
    if (!isSecure) refuse('tls_failed')
    else if (lingersUntil > at || lingersUntil === lingersAtMost || left() === leftBefore) close()
    else linger()
    return gone
  })

  const tunnel: Tunnel = {
    identity: options.identity,
    destination,
    began() {
      underWay += 1
      until = lingersUntil
    },
    ended() {
      underWay -= 1
      if (underWay === 0) until = Math.min(lingersUntil, now() + options.idleTimeoutMs)
    },
    end: close,
  }

  // Who has nothing more to say will not finish a handshake; one that never began is no refusal.
  const before = socket.bytesRead
  const fail = (reason: DenialReason) => {
    if (isSecure || socket.bytesRead === before) close()
    else refuse(reason)
  }
  secured.on('error', (err) => fail(mismatch ? 'sni_mismatch' : handshakeReason(err)))
  // What is no TLS any more behind a handshake Node calls an error of those sockets alone that a server of its own made.
  secured.on('_tlsError', () => {
    if (isSecure) close()
  })
  secured.once('end', () => {
    // Node ends it too, with a last word where it was in the middle of a request. Written to a Unix socket whose other
    // end is closed, that is neither sent nor an error, ever: the tunnel would stay until it has idled.
    if (!isSecure) return fail('tls_failed')
    lingersAtMost = now() + mostLingerMs
    linger()
  })
  socket.on('error', close)
  secured.on('close', close)
  secured.once('secure', () => {
    if (gone || secured.destroyed) return
    // Without a server name the callback was never asked.
    if (!named) return refuse('sni_mismatch')
    isSecure = true
    until = now() + options.idleTimeoutMs
    options.ready(secured, tunnel)
  })
  return tunnel
}

function handshakeReason(error: Error): DenialReason {
  const code = (error as { code?: unknown }).code
  // What OpenSSL says of bytes that are no TLS record at all.
  return code === 'ERR_SSL_WRONG_VERSION_NUMBER' ||
    code === 'ERR_SSL_HTTP_REQUEST' ||
    code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG' ||
    code === 'ERR_SSL_HTTPS_PROXY_REQUEST'
    ? 'tunnel_not_tls'
    : 'tls_failed'
}
