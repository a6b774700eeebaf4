import type { ServerHttp2Session } from 'node:http2'
import type { Rounds } from '../bounds/rounds.ts'

/**
 * Tells `late`, once, when the preface of HTTP/2 or a head that has begun is not whole within the limit, or up to three
 * seconds more, which Node does by HTTP/1.1 alone. What has come of a head is seen from its frame's own head on; of
 * trailers it is not.
 */
export function watchHeads(
  rounds: Rounds,
  session: ServerHttp2Session,
  limitMs: number,
  late: () => void,
): void {
  const watched = new WatchedSession(session)
  const leave = rounds.watch((now) => {
    if (!watched.isLate(now, limitMs)) return false
    late()
    return true
  })
  session.once('close', leave)
}

/**
 * nghttp2 tells nobody of a head before its end, but what it says of the session names the last stream whose head has
 * begun. Where that is no stream that we heard of, the head is under way, or was refused for breaking the rules: a PING
 * tells which, because nothing but the rest of it may come before its end (RFC 9113 section 4.3).
 */
class WatchedSession {
  readonly #session: ServerHttp2Session
  #greeted = false
  /** The last stream whose head has come to its end, one way or the other. */
  #settled = 0
  #open: { id: number; since: number; asked: boolean }

  constructor(session: ServerHttp2Session) {
    this.#session = session
    this.#open = { id: 0, since: performance.now(), asked: false }
    session.once('remoteSettings', () => {
      this.#greeted = true
    })
    session.on('stream', ({ id = 0 }) => {
      this.#settled = id
    })
  }

  isLate(now: number, limitMs: number): boolean {
    if (this.#session.destroyed) return false
    if (!this.#greeted) return now - this.#open.since >= limitMs
    const id = this.#session.state.lastProcStreamID ?? 0
    if (id <= this.#settled) return false
    if (id !== this.#open.id) this.#open = { id, since: now, asked: false }
    if (now - this.#open.since < limitMs) return false
    if (this.#open.asked) return true
    this.#open.asked = true
    this.#session.ping((error) => {
      if (error === null) this.#settled = Math.max(this.#settled, id)
    })
    return false
  }
}
