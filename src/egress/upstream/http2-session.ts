import type { ClientHttp2Session } from 'node:http2'
import { idleMs } from './bounds.ts'
import type { Channel, Outgoing, UpstreamEvents, UpstreamRequest } from './channel.ts'
import { Http2Request, requestHeaders } from './http2-exchange.ts'

/** Streams of one connection, whatever more the upstream would take. */
export const maxStreams = 100

/** One connection by HTTP/2; it closes itself after having idled. */
export class Session implements Channel {
  readonly #session: ClientHttp2Session
  readonly #idleTimeoutMs: number
  #streams = 0
  #idle: NodeJS.Timeout | undefined

  constructor(session: ClientHttp2Session, idleTimeoutMs: number) {
    this.#session = session
    this.#idleTimeoutMs = idleTimeoutMs
    this.#rest()
  }

  release(): void {
    // It stays for others, and closes itself when none comes.
  }

  #rest(): void {
    this.#idle = setTimeout(() => this.#session.close(), idleMs).unref()
  }

  hasRoom(): boolean {
    if (this.#session.closed || this.#session.destroyed) return false
    return (
      this.#streams < Math.min(maxStreams, this.#session.remoteSettings.maxConcurrentStreams ?? maxStreams)
    )
  }

  open(outgoing: Outgoing, events: UpstreamEvents): UpstreamRequest {
    const hasBody = outgoing.content !== undefined
    const stream = this.#session.request(requestHeaders(outgoing), {
      endStream: !hasBody,
      waitForTrailers: hasBody,
    })
    this.#streams += 1
    clearTimeout(this.#idle)
    stream.once('close', () => {
      this.#streams -= 1
      if (this.#streams === 0) this.#rest()
    })
    const request = new Http2Request(stream, events)
    stream.setTimeout(this.#idleTimeoutMs, () => request.onTimeout())
    return request
  }
}
