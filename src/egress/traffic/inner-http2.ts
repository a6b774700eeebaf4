import {
  constants,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { watchForBreak } from '../bounds/broken-writes.ts'
import { type Came, readSessionFairly } from '../bounds/fair-session.ts'
import type { Rounds } from '../bounds/rounds.ts'
import { msPerField, msPerRequest } from '../bounds/work.ts'
import { Http2Inbound } from '../inbound/http2.ts'
import { headerListSize, maxHeaderListPairs, maxSendHeaderBlockLength } from '../request/fields.ts'
import { http2Fields, http2Target } from '../request/tuple-http2.ts'
import type { EgressLimits } from '../types.ts'
import { askedInTunnel } from './asked.ts'
import { contained } from './contained.ts'
import { watchHeads } from './head-watch.ts'
import { type InnerDeps, serveRequest } from './inner-request.ts'
import { clientIdleMs } from './server.ts'
import type { Tunnel } from './tunnel.ts'

/** Streams that a client takes back before their answer, beyond which it only means to make work (Rapid Reset). */
const resetBurst = 100
const resetsPerSecond = 20

/** PING and SETTINGS, each of which is answered, and goodbyes: more than any client has to say. */
const controlBurst = 500
const controlsPerSecond = 50

/**
 * Bounds of one session. Header blocks are bounded as HTTP/1.1's heads are, CONTINUATION frames with them by
 * nghttp2; memory is in megabytes. Extended CONNECT (RFC 8441) is not offered: its streams are reset as malformed, and
 * we hear of those only when there are more than `maxSessionInvalidFrames`.
 */
function bounds(limits: EgressLimits) {
  return {
    maxSessionMemory: 4,
    maxSendHeaderBlockLength,
    maxHeaderListPairs: maxHeaderListPairs(limits.headerBytes),
    maxSessionInvalidFrames: 50,
    maxSessionRejectedStreams: 50,
    maxOutstandingPings: 5,
    maxOutstandingSettings: 5,
    maxSettings: 16,
    streamResetBurst: resetBurst,
    streamResetRate: resetsPerSecond,
    settings: {
      enablePush: false,
      enableConnectProtocol: false,
      maxConcurrentStreams: Math.min(100, limits.requestsPerPrincipal),
      maxHeaderListSize: limits.headerBytes,
    },
  }
}

/** Serves HTTP/2 on the decrypted side of a tunnel, each stream decided like a request by HTTP/1.1. */
export function serveHttp2(deps: InnerDeps, tunnel: Tunnel, secured: TLSSocket): void {
  const session = performServerHandshake(secured, bounds(deps.limits))
  // A session waits for this; a TLS socket that no TLS server made, and that is long secure, does not say it.
  secured.emit('secureConnect')
  let refused = false
  let saidGoodbye = false
  const refuse = (reason: 'http2_abuse' | 'head_timeout') => {
    if (!refused) deps.denier.deny(tunnel.identity, askedInTunnel(tunnel.destination), reason, 'tunnel')
    refused = true
    tunnel.end()
  }
  watchForBreak(deps.rounds, secured, () => tunnel.end())
  watchHeads(deps.rounds, session, deps.limits.headersTimeoutMs, () => refuse('head_timeout'))
  const idleMs = clientIdleMs(deps.limits)
  // Node gives up a session for a breach of the protocol or of the bounds; a client that just goes is none, nor is one
  // that says so with an error of its own.
  session.on('error', (err) => {
    const { code } = err as NodeJS.ErrnoException
    if (code?.startsWith('ERR_HTTP2_') === true && !(code === 'ERR_HTTP2_SESSION_ERROR' && saidGoodbye))
      refuse('http2_abuse')
    else tunnel.end()
  })
  session.once('goaway', () => (saidGoodbye = true))
  const open = new Set<ServerHttp2Stream>()
  const goodbye = lateGoodbye(session, open)
  letForgottenGo(deps.rounds, session, open)
  const came = readSessionFairly(session, secured, deps.share.of(tunnel.identity.principalId))
  session.on('close', () => tunnel.end())
  // The proxy's connections may be half open, which a session does not look at: nobody would notice a client that went.
  secured.once('end', () => tunnel.end())
  const asked = createBucket(controlBurst, controlsPerSecond)
  const control = () => {
    if (!asked()) refuse('http2_abuse')
  }
  session.on('ping', control)
  session.on('remoteSettings', control)
  session.on('goaway', control)
  const taken = createBucket(resetBurst, resetsPerSecond)
  const serve = (stream: ServerHttp2Stream, _headers: unknown, flags: number, raw: string[]) => {
    let inbound: Http2Inbound | undefined
    open.add(stream)
    stream.once('close', () => {
      open.delete(stream)
      inbound?.answer.closed()
      goodbye.sayIfDue()
    })
    came.worked(msPerRequest + (raw.length / 2) * msPerField)
    stream.on('error', () => undefined)
    // The tunnel idles out for its session: Node keeps one that has ended, and 50 kB with it, until its timer has run out.
    stream.setTimeout(idleMs, () => stream.close(constants.NGHTTP2_CANCEL))
    stream.once('aborted', () => {
      // What was cut off here is not the client's doing, nor what ends with its connection; what was answered may end.
      if (secured.destroyed || session.destroyed || inbound?.answer.isOver === true) return
      if (!taken()) refuse('http2_abuse')
    })
    inbound = serveStream(deps, tunnel, stream, { flags, raw, came })
  }
  session.on(
    'stream',
    contained(deps.log, serve, () => tunnel.end()),
  )
}

/**
 * What a client has asked for before it says goodbye is answered (RFC 9113 section 6.8), for as long as it would be
 * otherwise: it waits, and says no more. Node answers a goodbye with its own at once. Having said that it tells nobody
 * of bytes that are no frames, behind which it does not see the connection end either: the client's requests and its
 * tunnel would stay until they idle. So it is said behind the last of the streams.
 */
function lateGoodbye(
  session: ServerHttp2Session,
  open: ReadonlySet<ServerHttp2Stream>,
): { sayIfDue(): void } {
  const close = session.close.bind(session)
  let isLeaving = false
  session.on('goaway', () => {
    if (open.size === 0) return
    isLeaving = true
    // Node calls it next, once; what the proxy itself ends with is another's goodbye.
    session.close = () => {
      session.close = close
    }
  })
  return {
    sayIfDue() {
      if (open.size === 0 && isLeaving) close()
    },
  }
}

/**
 * A stream that its client gives up without an error, when the end of its answer was written and has not left, Node
 * forgets: it stays, with what waits in it, until its session ends, and the client has room for another.
 */
function letForgottenGo(
  rounds: Rounds,
  session: ServerHttp2Session,
  open: ReadonlySet<ServerHttp2Stream>,
): void {
  /** At the last look. One that is not forgotten is gone by the next. */
  let closed: ServerHttp2Stream[] = []
  const leave = rounds.watch(() => {
    for (const stream of closed) stream.destroy()
    closed = [...open].filter((stream) => stream.closed)
    return session.destroyed
  })
  session.once('close', leave)
}

function serveStream(
  deps: InnerDeps,
  tunnel: Tunnel,
  stream: ServerHttp2Stream,
  { flags, raw, came }: { flags: number; raw: string[]; came: Came },
): Http2Inbound | undefined {
  // Until the client has acknowledged the setting, Node takes twice as much.
  if (headerListSize(raw) > deps.limits.headerBytes) {
    deps.denier.deny(tunnel.identity, askedInTunnel(tunnel.destination), 'parse_error', 'request')
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    return undefined
  }
  stream.on('trailers', (...[, , trailers]: [unknown, unknown, string[]?]) => {
    if (headerListSize(trailers ?? []) > deps.limits.headerBytes)
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
  })
  const fields = http2Fields(raw)
  const hasBody = (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0
  const inbound = new Http2Inbound(stream, fields, { hasBody, came: came.piece })
  serveRequest(deps, tunnel, { inbound, canonical: http2Target(fields, tunnel.destination, hasBody) })
  return inbound
}

/** Whether one more may be: `size` at once, `perSecond` over time. */
function createBucket(size: number, perSecond: number): () => boolean {
  let level = 0
  let at = performance.now()
  return () => {
    const now = performance.now()
    level = Math.max(0, level - ((now - at) / 1_000) * perSecond) + 1
    at = now
    return level <= size
  }
}
