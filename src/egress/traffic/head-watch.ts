import type { ServerHttp2Session } from 'node:http2'
import { lookEveryMs } from '../bounds/overstay.ts'

/** Finds clients of HTTP/2 that take too long over a head, which Node does by HTTP/1.1 alone. */
export interface HeadWatch {
  /**
   * Tells `late`, once, when the preface or a head that has begun is not whole within the limit, or up to three seconds
   * more. What has come of a head is seen from its frame's own head on; of trailers it is not.
   */
  watch(session: ServerHttp2Session, late: () => void): void
  close(): void
}

export function createHeadWatch(limitMs: number): HeadWatch {
  const watched = new Set<WatchedSession>()
  const timer = setInterval(() => {
    const now = performance.now()
    for (const one of watched) if (one.isLate(now, limitMs)) one.tell()
  }, lookEveryMs).unref()
  return {
    watch(session, late) {
      const one = new WatchedSession(session, () => {
        watched.delete(one)
        late()
      })
      watched.add(one)
      session.once('close', () => watched.delete(one))
    },
    close: () => clearInterval(timer),
  }
}

/**
 * nghttp2 tells nobody of a head before its end, but what it says of the session names the last stream whose head has
 * begun. Where that is no stream that we heard of, the head is under way, or was refused for breaking the rules: a PING
 * tells which, because nothing but the rest of it may come before its end (RFC 9113 section 4.3).
 */
class WatchedSession {
  readonly tell: () => void
  readonly #session: ServerHttp2Session
  #greeted = false
  /** The last stream whose head has come to its end, one way or the other. */
  #settled = 0
  #open: { id: number; since: number; asked: boolean }

  constructor(session: ServerHttp2Session, tell: () => void) {
    this.tell = tell
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
