import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type Denial, denialStatus } from '../decision/denial.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { EgressLimits } from '../types.ts'

/** An HTTP/1.1 server with the proxy's bounds; whoever made it says what it does. */
export function makeServer(limits: EgressLimits): Server {
  const server = createServer({
    maxHeaderSize: limits.headerBytes,
    requireHostHeader: false,
    noDelay: true,
    requestTimeout: 0,
    headersTimeout: limits.headersTimeoutMs,
    connectionsCheckingInterval: 1_000,
    keepAliveTimeout: limits.tunnelIdleTimeoutMs,
  })
  server.timeout = limits.idleTimeoutMs
  server.maxHeadersCount = 0
  return server
}

/** What a request says of itself, before anything of it is understood. */
export function saidBy(req: IncomingMessage): Pick<Inbound, 'method' | 'target' | 'claimedHost'> {
  return { method: req.method ?? '', target: req.url ?? '', claimedHost: req.headers.host ?? '' }
}

/** What is answered while leases cannot be checked. */
export function unavailable(source: string): Denial {
  const reason = 'leases_unavailable'
  return { status: denialStatus(reason), reason, rule: 'lease', host: '', source }
}

/** What could not be parsed gets a constant answer: none of its bytes are worth quoting. */
export function refuseBytes(socket: {
  writable: boolean
  end(text: string): unknown
  destroy(): unknown
}): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  socket.end(
    'HTTP/1.1 400 Bad Request\r\nconnection: close\r\nx-toolcrib-denied: parse_error\r\ncontent-length: 0\r\n\r\n',
  )
}
