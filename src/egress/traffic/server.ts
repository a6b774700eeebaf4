import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { http } from '../../core/index.ts'
import { lookEveryMs } from '../bounds/rounds.ts'
import { endOwing, mayRefuseBytes, owesAnswer } from '../inbound/due-answers.ts'
import type { Inbound } from '../inbound/inbound.ts'
import { denialField } from '../request/fields.ts'
import type { EgressLimits } from '../types.ts'

/**
 * How long a client's connection may pass nothing while a request is under way. The upstream's time is to run out
 * before, so that the client can be told: it begins once the upstream is reached, which may take finding the host and a
 * token's, four addresses to dial, TLS, and a token.
 */
export function clientIdleMs(limits: EgressLimits): number {
  return limits.idleTimeoutMs + 7 * limits.dialTimeoutMs + limits.tokenTimeoutMs
}

/** An HTTP/1.1 server with the proxy's bounds; whoever made it says what it does. */
export function makeServer(limits: EgressLimits): Server {
  const server = http.createServer({
    maxHeaderSize: limits.headerBytes,
    requireHostHeader: false,
    noDelay: true,
    requestTimeout: 0,
    headersTimeout: limits.headersTimeoutMs,
    connectionsCheckingInterval: lookEveryMs,
    keepAliveTimeout: limits.tunnelIdleTimeoutMs,
  })
  server.timeout = clientIdleMs(limits)
  server.maxHeadersCount = 0
  return server
}

/** Node has its parser take a connection's bytes past everybody, unless somebody else has listened too. */
export function notConsumed(socket: Socket): void {
  const nobody = () => undefined
  socket.on('data', nobody).off('data', nobody)
}

/** What a request says of itself, before anything of it is understood. */
export function saidBy(req: IncomingMessage): Pick<Inbound, 'method' | 'target' | 'claimedHost'> {
  return { method: req.method ?? '', target: req.url ?? '', claimedHost: req.headers.host ?? '' }
}

/**
 * What could not be parsed gets a constant answer: none of its bytes are worth quoting. Behind a request that has no
 * whole answer yet there is nothing to say, and the connection just ends. Returns why; undefined where nothing is
 * refused: the client has gone, with its connection or in the middle of a request that has its own record, or it had
 * said before that there would be no more (RFC 9112 section 9.6), and what came before is still answered.
 */
export function refuseBytes(error: Error, socket: Duplex): 'parse_error' | 'head_timeout' | undefined {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'HPE_CLOSED_CONNECTION') return undefined
  if (!socket.writable) {
    socket.destroy()
    return undefined
  }
  if (code === 'HPE_INVALID_EOF_STATE' && owesAnswer(socket)) {
    socket.end()
    return undefined
  }
  const reason = code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'head_timeout' : 'parse_error'
  if (!mayRefuseBytes(socket)) {
    endOwing(socket)
    return reason
  }
  const text = (status: string) =>
    `HTTP/1.1 ${status}\r\nconnection: close\r\n${denialField}: ${reason}\r\ncontent-length: 0\r\n\r\n`
  if (reason === 'parse_error') socket.end(text('400 Bad Request'))
  // Its parser would go on, and serve what it was told is refused.
  else socket.end(text('408 Request Timeout'), () => socket.destroy())
  return reason
}
