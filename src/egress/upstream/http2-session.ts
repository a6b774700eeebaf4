import type { ClientHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Came } from '../bounds/fair-session.ts'
import { farewellMs, idleMs, settingsMs } from './bounds.ts'
import type { Channel, Outgoing, UpstreamEvents, UpstreamRequest } from './channel.ts'
import { UpstreamError } from './error.ts'
import { Http2Request, mayHaveTrailers, requestHeaders } from './http2-exchange.ts'

/** Streams of one connection, whatever more the upstream would take. */
export const maxStreams = 100

/**
 * One connection by HTTP/2. Streams are counted from when they are promised: whoever is given it as a channel opens
 * one, or releases it. It closes itself after having idled.
 */
export class Session implements Channel {
  readonly #session: ClientHttp2Session
  readonly #socket: Socket
  readonly #idleTimeoutMs: number
  readonly #maxHeaderSize: number
  /** Told of what an answer brings. */
  readonly #came: Came
  /** Says goodbye to the upstream; not while a stream is under way. */
  readonly #close: () => void
  /** Settles when the upstream has said how many streams it takes, or has gone; rejects when it keeps silent. */
  readonly settled: Promise<void>
  #isSettled = false
  /** Nothing came for too long, of its first words or on one of its streams. */
  #isSilent = false
  /** The highest stream that the upstream may have begun with, once it says goodbye (RFC 9113 section 6.8). */
  #lastTaken: number | undefined
  #retired = false
  /** One is promised to whoever dialled: it need not wait for the settings. */
  #streams = 1
  #idle: NodeJS.Timeout | undefined

  constructor(
    session: ClientHttp2Session,
    socket: Socket,
    options: { idleTimeoutMs: number; maxHeaderSize: number; came: Came },
  ) {
    this.#session = session
    this.#socket = socket
    this.#idleTimeoutMs = options.idleTimeoutMs
    this.#maxHeaderSize = options.maxHeaderSize
    this.#came = options.came
    this.settled = this.#settle()
    // It matters to those who wait for it, if anybody does.
    this.settled.catch(() => undefined)
    // Node tells of it before it tells the streams that end with it.
    session.on('goaway', (_code, last) => (this.#lastTaken = last))
    // Node answers a goodbye with its own. Having said that it tells nobody of bytes that are no frames, behind which it
    // reads no more and does not see the connection end: what is under way would wait until its time is over.
    const close = session.close.bind(session)
    this.#close = () => {
      // Each of its goodbyes asks for it, and hundreds may be heard together.
      if (session.closed) return
      close()
      // Node waits for the upstream to close its end too, which it may never do.
      const timer = setTimeout(() => socket.destroy(), farewellMs).unref()
      socket.once('close', () => clearTimeout(timer))
    }
    session.close = () => this.retire()
  }

  /** Takes no more requests, and goes with the last that is under way. */
  retire(): void {
    this.#retired = true
    if (this.#streams === 0) this.#close()
  }

  /** Ends it, and all that is under way, also while the upstream's end of it is waited for. */
  destroy(): void {
    this.#session.destroy()
    this.#socket.destroy()
  }

  #settle(): Promise<void> {
    return new Promise((resolve, reject) => {
      const silent = () => {
        this.#isSilent = true
        this.#session.destroy()
      }
      const timer = setTimeout(silent, Math.min(settingsMs, this.#idleTimeoutMs))
      this.#session.once('remoteSettings', () => {
        clearTimeout(timer)
        this.#isSettled = true
        resolve()
      })
      this.#session.once('close', () => {
        clearTimeout(timer)
        // Nothing was sent for those who waited. Each would wait as long for a connection of its own.
        if (this.#isSilent) reject(new UpstreamError('upstream_unreachable', new Error('no SETTINGS came')))
        else resolve()
      })
    })
  }

  /** Promises one more stream, where that makes `most` at once and the upstream has room for it. */
  take(most: number): boolean {
    if (!this.#hasRoom(most)) return false
    clearTimeout(this.#idle)
    this.#streams += 1
    return true
  }

  #hasRoom(most: number): boolean {
    const { closed, destroyed, remoteSettings } = this.#session
    if (closed || destroyed || this.#retired || this.#isSilent || !this.#isSettled) return false
    return this.#streams < Math.min(most, remoteSettings.maxConcurrentStreams ?? most)
  }

  release(): void {
    this.#streams -= 1
    if (this.#streams > 0) return
    // Whoever is silent would not answer a farewell.
    if (this.#isSilent) this.#session.destroy()
    else if (this.#retired) this.#close()
    else this.#idle = setTimeout(this.#close, idleMs).unref()
  }

  open(outgoing: Outgoing, events: UpstreamEvents): UpstreamRequest {
    const hasBody = outgoing.content !== undefined
    const stream = this.#session.request(requestHeaders(outgoing), {
      endStream: !hasBody,
      waitForTrailers: mayHaveTrailers(outgoing),
    })
    stream.once('close', () => this.release())
    const request = new Http2Request(stream, events, {
      content: outgoing.content,
      lastTaken: () => this.#lastTaken,
      maxHeaderSize: this.#maxHeaderSize,
      came: this.#came,
    })
    stream.setTimeout(this.#idleTimeoutMs, () => {
      // The connection may be dead, which nobody would hear of: it gets no more requests.
      this.#isSilent = true
      request.onTimeout()
    })
    return request
  }
}
