import { type ClientHttp2Stream, constants, type OutgoingHttpHeaders, sensitiveHeaders } from 'node:http2'
import type { Readable } from 'node:stream'
import { takeTogether } from '../bounds/crumbs.ts'
import type { Came } from '../bounds/fair-session.ts'
import { putWaitingCrumbsTogether } from '../bounds/waiting-crumbs.ts'
import { msPerField } from '../bounds/work.ts'
import { headerListSize, http2Headers } from '../request/fields.ts'
import { headerValues } from '../request/head.ts'
import { onceEnded } from './body-end.ts'
import { maxInterim } from './bounds.ts'
import type { BodyReader, Outgoing, UpstreamAnswer, UpstreamEvents, UpstreamRequest } from './channel.ts'
import { authorityOf } from './connection.ts'
import { UpstreamError } from './error.ts'

/** One request on a stream of HTTP/2, and its answer. */
export class Http2Request implements UpstreamRequest {
  readonly #stream: ClientHttp2Stream
  readonly #events: UpstreamEvents
  readonly #lastTaken: () => number | undefined
  readonly #length: number | undefined
  #trailers: () => readonly string[] = () => []
  #interim = 0
  #body: Readable | undefined
  #answer: Http2UpstreamAnswer | undefined
  /** It has failed or nobody wants the answer any more: nothing else is told. */
  #over = false

  /**
   * `lastTaken` is what the goodbye of its connection said, where that came; no head may be longer than `maxHeaderSize`;
   * `came` is told of what comes of the answer. A body of another length than is stated is not ended.
   */
  constructor(
    stream: ClientHttp2Stream,
    events: UpstreamEvents,
    {
      content,
      lastTaken,
      maxHeaderSize,
      came,
    }: {
      content: Outgoing['content']
      lastTaken: () => number | undefined
      maxHeaderSize: number
      came: Came
    },
  ) {
    this.#stream = stream
    this.#events = events
    this.#lastTaken = lastTaken
    this.#length = typeof content === 'number' ? content : undefined
    const isWhole = watchEnd(stream)
    takeTogether(stream, came.piece)
    // Until an upstream has acknowledged our settings, which it may never do, Node takes any size: a few bytes of HPACK
    // can stand for megabytes.
    const hold = (...[, , raw]: [unknown, unknown, string[]?]) => {
      came.worked(((raw?.length ?? 0) / 2) * msPerField)
      if (headerListSize(raw ?? []) > maxHeaderSize) stream.destroy(new Error('a head that is too long'))
    }
    stream.on('headers', hold)
    stream.on('response', hold)
    stream.on('trailers', hold)
    stream.on('error', (err) => this.#failed(this.#asRefusal(err) ?? err))
    const unanswered = () => {
      if (this.#answer !== undefined) return
      const err = new Error('the stream was closed before an answer')
      this.#failed(this.#asRefusal(err) ?? err)
    }
    stream.on('close', unanswered)
    // What still waits to be sent on a stream that was given up without an error keeps it from closing for ever, and Node
    // stops its clock. It only ends, and an answer that came before that is told of by then.
    stream.on('end', () => setImmediate(unanswered))
    stream.on('headers', () => {
      this.#interim += 1
      if (this.#interim > maxInterim) stream.destroy(new Error('too many interim answers'))
    })
    stream.on('response', (...[headers, flags, raw]: [{ ':status'?: number }, number, string[]?]) => {
      if (this.#over || stream.destroyed) return
      const headOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
      const head = { status: headers[':status'] ?? 502, rawHeaders: withoutPseudo(raw ?? []), headOnly }
      this.#answer = new Http2UpstreamAnswer(stream, head, isWhole)
      try {
        events.answered(this.#answer)
      } catch (err) {
        // Thrown into an event of Node's it would end the process.
        stream.destroy(err as Error)
      }
    })
    stream.on('wantTrailers', () => {
      if (this.#over) return
      try {
        stream.sendTrailers(http2Headers(this.#trailers()))
      } catch (err) {
        stream.destroy(err as Error)
      }
    })
  }

  send(body: Readable | undefined, trailers: () => readonly string[]): void {
    if (body === undefined) return
    this.#trailers = trailers
    this.#body = body
    const stream = this.#stream
    putWaitingCrumbsTogether(stream)
    body.pipe(stream, { end: false })
    let left = this.#length
    if (left !== undefined) body.on('data', (piece: Buffer) => (left = (left ?? 0) - piece.length))
    onceEnded(body, () => {
      // Node ends what a client by HTTP/2 cut short before it says that it was.
      if (left === undefined || left === 0) stream.end()
      else setImmediate(() => stream.destroy(new Error('a body had another length than it said')))
    })
  }

  abort(): void {
    this.#over = true
    const stream = this.#stream
    // What both sides have ended is kept for as long as somebody may still read it.
    if (stream.closed) return void stream.destroy()
    this.#body?.unpipe(stream)
    // Node ends what it closes, and what was cut short would be taken for whole.
    if (!stream.writableEnded) stream.end = () => stream
    // Not while Node reads from the connection: it would keep the reset back until it next writes.
    setImmediate(() => {
      if (stream.closed) stream.destroy()
      else stream.close(constants.NGHTTP2_CANCEL)
    })
  }

  onTimeout(): void {
    if (!this.#over) this.#events.timedOut()
  }

  /** Where the upstream says that it has not begun with it (RFC 9113 section 8.7). One that has spoken has. */
  #asRefusal(error: NodeJS.ErrnoException): UpstreamError | undefined {
    if (this.#interim > 0 || this.#answer !== undefined) return undefined
    const { id, rstCode } = this.#stream
    const last = this.#lastTaken()
    const isBeyond = last !== undefined && id !== undefined && id > last
    const byPeer = error.code === 'ERR_HTTP2_STREAM_ERROR' && rstCode === constants.NGHTTP2_REFUSED_STREAM
    return isBeyond || byPeer ? new UpstreamError('upstream_refused', error, last !== undefined) : undefined
  }

  /** Whoever reads the body hears of it there. */
  #failed(error: unknown): void {
    if (this.#over || this.#answer?.isRead === true) return
    this.#over = true
    this.#events.failed(error)
  }
}

class Http2UpstreamAnswer implements UpstreamAnswer {
  readonly status: number
  readonly rawHeaders: readonly string[]
  readonly headOnly: boolean
  // RFC 9113 section 8.1: the last frame says so.
  readonly untilClose = false
  isRead = false
  readonly #stream: ClientHttp2Stream
  readonly #isWhole: () => boolean

  constructor(
    stream: ClientHttp2Stream,
    { status, rawHeaders, headOnly }: Pick<UpstreamAnswer, 'status' | 'rawHeaders' | 'headOnly'>,
    isWhole: () => boolean,
  ) {
    this.status = status
    this.rawHeaders = rawHeaders
    this.headOnly = headOnly
    this.#stream = stream
    this.#isWhole = isWhole
  }

  plain(): boolean {
    return true
  }

  read(reader: BodyReader): void {
    this.isRead = true
    const stream = this.#stream
    let trailers: readonly string[] = []
    let over = false
    const end = (whole: boolean) => {
      if (over) return
      over = true
      if (whole) reader.ended(trailers)
      else reader.failed()
    }
    stream.on('trailers', (...[, , late]: [unknown, unknown, string[]?]) => {
      trailers = withoutPseudo(late ?? [])
    })
    // A server of Node's that waits for the connection resets a stream in place of its end. Its length says as much.
    const [length] = headerValues(this.rawHeaders, 'content-length')
    let bytes = 0
    stream.on('data', (part: Buffer) => {
      bytes += part.length
      if (!over) reader.data(part)
    })
    stream.on('end', () => {
      const isAll = length === String(bytes) && stream.rstCode === constants.NGHTTP2_NO_ERROR
      end(isAll || this.#isWhole())
    })
    stream.on('error', () => end(false))
    stream.on('close', () => end(false))
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }
}

/**
 * Whether the upstream has said that this is the end of its stream. A stream that it resets without an error ends for
 * Node as if it had; but then the end is pushed onto a stream that is closed already.
 */
function watchEnd(stream: ClientHttp2Stream): () => boolean {
  let isWhole = false
  const push = stream.push.bind(stream)
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk === null && !stream.closed) isWhole = true
    return push(chunk, encoding)
  }
  return () => isWhole && stream.rstCode === constants.NGHTTP2_NO_ERROR
}

/**
 * Whether trailers may come behind the body. What states its length by HTTP/1.1 has none (RFC 9112 section 7.1.2), and
 * by HTTP/2 must have announced them. Where some may come, Node ends a stream by an empty frame behind the body's, and
 * Tomcat takes short frames that are not the last one for an attack: it gives up the connection and all that is on it.
 */
export function mayHaveTrailers({ content, headers }: Outgoing): boolean {
  return content === 'chunked' || (content !== undefined && headerValues(headers, 'trailer').length > 0)
}

/** The fields that open a stream. */
export function requestHeaders({ tuple, headers, content, secretFields }: Outgoing): OutgoingHttpHeaders {
  return {
    ...http2Headers(headers),
    ...(typeof content === 'number' ? { 'content-length': String(content) } : {}),
    // Ours to say on this hop: trailers are passed on, and gRPC insists on hearing it.
    te: 'trailers',
    ':method': tuple.method,
    ':scheme': 'https',
    ':authority': authorityOf(tuple),
    ':path': tuple.path + tuple.query,
    // Never put into a compression table; a path may have a credential in it as well.
    [sensitiveHeaders]: [':path', 'authorization', ...secretFields],
  }
}

function withoutPseudo(flat: readonly string[]): string[] {
  return flat.filter((_, i) => !(flat[i - (i % 2)] ?? '').startsWith(':'))
}
