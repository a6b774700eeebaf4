import { constants, type ServerHttp2Stream } from 'node:http2'
import { takeTogether } from '../bounds/crumbs.ts'
import { http2Headers } from '../request/fields.ts'
import { headerValues } from '../request/head.ts'
import type { Http2Fields } from '../request/tuple-http2.ts'
import type { Inbound, InboundAnswer } from './inbound.ts'
import { lingerMs } from './last-words.ts'

/** At most so long it waits to look again whether an answer's end has left, of which Node tells nobody. */
const mostAgainMs = 100

/** A request by HTTP/2, in a tunnel. */
export class Http2Inbound implements Inbound {
  readonly method: string
  readonly target: string
  readonly claimedHost: string
  readonly rawHeaders: readonly string[]
  readonly content: Inbound['content']
  readonly answer: Http2Answer
  readonly #stream: ServerHttp2Stream
  #trailers: readonly string[] = []

  /** `came` is told of each piece of the body. */
  constructor(
    stream: ServerHttp2Stream,
    { pseudo, regular }: Http2Fields,
    { hasBody, came }: { hasBody: boolean; came: (bytes: number) => void },
  ) {
    this.#stream = stream
    this.method = pseudo.get(':method') ?? ''
    this.target = pseudo.get(':path') ?? ''
    this.claimedHost = pseudo.get(':authority') ?? ''
    this.rawHeaders = regular
    const [length] = headerValues(regular, 'content-length')
    this.content = hasBody
      ? { body: stream, length: length === undefined ? undefined : Number(length) }
      : undefined
    if (hasBody) takeTogether(stream, came)
    this.answer = new Http2Answer(stream, () => this.complete())
    stream.on('trailers', (...[, , raw]: [unknown, unknown, string[]?]) => {
      this.#trailers = raw ?? []
    })
  }

  complete(): boolean {
    if (this.content === undefined) return true
    return this.#stream.readableEnded && !this.#stream.aborted && this.#stream.rstCode === 0
  }

  trailers(): readonly string[] {
    return this.#trailers
  }

  proceed(): void {
    if (headerValues(this.rawHeaders, 'expect').length > 0 && !this.answer.gone()) this.answer.proceed()
  }
}

class Http2Answer implements InboundAnswer {
  readonly sink: ServerHttp2Stream
  readonly #requestComplete: () => boolean
  #trailers: readonly string[] = []
  #cut = false
  #heardOut = false
  #left: (() => void) | undefined
  #proceeded = false

  constructor(stream: ServerHttp2Stream, requestComplete: () => boolean) {
    this.sink = stream
    this.#requestComplete = requestComplete
    stream.on('wantTrailers', () => {
      if (this.#cut) return
      try {
        stream.sendTrailers(http2Headers(this.#trailers))
      } catch {
        // The client took the stream back meanwhile, or Node does not write them: not whole, and nobody's end but its own.
        this.abort()
      }
    })
  }

  /** Whether it was cut off here or has left whole: what the client then ends is no request that it takes back. */
  get isOver(): boolean {
    return this.#cut || this.#heardOut
  }

  begun(): boolean {
    return this.sink.headersSent
  }

  proceed(): void {
    this.#proceeded = true
    this.sink.additionalHeaders({ ':status': 100 })
  }

  gone(): boolean {
    return this.sink.destroyed || this.sink.closed
  }

  head(status: number, headers: readonly string[], how?: { headOnly?: boolean }): void {
    this.sink.respond(
      { ...http2Headers(headers), ':status': status },
      how?.headOnly === true ? { endStream: true } : { waitForTrailers: true },
    )
  }

  flush(): void {
    // A HEADERS frame waits for nothing.
  }

  beLast(): void {
    // A GOAWAY: streams that were begun before it are still answered.
    this.sink.session?.close()
  }

  end(trailers: readonly string[], last?: Buffer): void {
    this.#trailers = trailers
    // A request that nobody ever read Node would call off itself, as soon as this has left.
    if (!this.#requestComplete() && this.sink.readableFlowing === null) this.sink.pause()
    if (this.sink.writableFinished) this.#leaveRest()
    else this.sink.once('finish', () => this.#leaveRest())
    if (last === undefined) this.sink.end()
    else this.sink.end(last)
  }

  /** Waits until the answer's end has left; what a client still sends then is nothing that anybody needs. */
  #leaveRest(againMs = 1): void {
    if (this.#requestComplete()) return
    // Not while Node reads from the connection: it would keep the reset back until it next writes.
    setImmediate(() => {
      if (this.#requestComplete() || this.sink.destroyed) return
      // A reset overtakes what waits to be written, and without its end the answer would not be whole.
      if (this.sink.closed || this.sink.state.localClose === 1) this.#hearOut()
      else setTimeout(() => this.#leaveRest(Math.min(2 * againMs, mostAgainMs)), againMs).unref()
    })
  }

  /**
   * RFC 9113 section 8.1 lets the rest be called off, and that is no error. But Java's client and Python's httpcore send
   * all before they read: called off, they wait for room to send until they time out, if they do. So they have a moment,
   * unheard, and whoever stops by itself has lost nothing. What is here would be kept, and counted as the session's
   * memory, for as long as somebody may still read it.
   */
  #hearOut(): void {
    const { sink } = this
    this.#heardOut = true
    this.#left?.()
    const callOff = () => {
      sink.close(constants.NGHTTP2_NO_ERROR)
      sink.destroy()
    }
    if (sink.closed) return callOff()
    // Whoever counted or sent it must not take it for sent.
    sink.removeAllListeners('data').resume()
    const limit = setTimeout(callOff, lingerMs)
    sink.once('close', () => clearTimeout(limit))
  }

  /** RFC 9113 section 8.7; who has been told to go on would take it for a lie. */
  refuse(): boolean {
    if (this.#proceeded || this.begun() || this.gone()) return false
    this.#cut = true
    this.sink.close(constants.NGHTTP2_REFUSED_STREAM)
    return true
  }

  abort(): void {
    // Closing ends the stream first, which alone would look like a whole answer: hence no trailers after a cut.
    this.#cut = true
    this.sink.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  onLeft(listener: () => void): void {
    if (this.#heardOut || this.gone()) listener()
    else this.#left = listener
  }

  /** To be called when the stream has closed. */
  closed(): void {
    this.#left?.()
  }

  onClosed(listener: (whole: boolean) => void): void {
    let told = false
    const tell = (whole: boolean) => {
      if (told) return
      told = true
      listener(whole)
    }
    this.sink.once('close', () => tell(this.sink.writableFinished && this.sink.rstCode === 0))
    // Taken back before it was answered. Node says so before it lets the body end as if it were whole, which it does
    // where the client names no error, and the stream never closes where nobody reads on.
    this.sink.once('aborted', () => {
      if (this.#cut) return
      tell(false)
      setImmediate(() => this.sink.destroy())
    })
  }
}
