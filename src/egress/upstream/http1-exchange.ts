import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { http } from '../../core/index.ts'
import { writeTogether } from '../economy/busy.ts'
import { headerValues } from '../request/head.ts'
import { wireMethod } from '../request/websocket.ts'
import type { Follows } from './answer-parser.ts'
import { onceEnded } from './body-end.ts'
import { maxInterim } from './bounds.ts'
import type { BodyReader, Outgoing, UpstreamAnswer, UpstreamEvents, UpstreamRequest } from './channel.ts'

/** One request on a connection by HTTP/1.1, and its answer. */
export class Http1Exchange implements UpstreamRequest, UpstreamAnswer {
  readonly #socket: Socket
  readonly #outgoing: Outgoing
  readonly #events: UpstreamEvents
  readonly #abandoned: () => void
  readonly #head: string
  #body: Readable | undefined
  #toSend: number
  #sent = false
  #over = false
  #interim = 0
  #keepAlive = false
  #reader: BodyReader | undefined
  /** Of the body, what has been read of this piece of the connection. */
  #parts: Buffer[] = []
  status = 0
  rawHeaders: readonly string[] = []
  headOnly = false
  untilClose = false
  /** Whether its answer has begun; an interim one is none. */
  answered = false

  /** `abandoned` is told when nobody wants the answer any more. Throws when the request cannot be written. */
  constructor(socket: Socket, outgoing: Outgoing, events: UpstreamEvents, abandoned: () => void) {
    this.#socket = socket
    this.#outgoing = outgoing
    this.#events = events
    this.#abandoned = abandoned
    this.#head = writtenHead(outgoing)
    this.#toSend = typeof outgoing.content === 'number' ? outgoing.content : 0
  }

  send(body: Readable | undefined, trailers: () => readonly string[]): void {
    const socket = this.#socket
    if (body === undefined) {
      this.#sent = true
      writeTogether(() => {
        if (!this.#over) socket.write(this.#head, 'latin1')
      })
      return
    }
    // What is there of the body goes out with the head.
    socket.cork()
    setImmediate(() => socket.uncork())
    socket.write(this.#head, 'latin1')
    this.#body = body
    body.on('data', this.#pass)
    onceEnded(body, () => {
      if (this.#over) return
      if (this.#toSend !== 0 && !this.#isChunked) return this.#miscounted()
      this.#sent = true
      if (this.#isChunked) socket.write(`0\r\n${written(trailers())}\r\n`, 'latin1')
    })
  }

  abort(): void {
    if (this.#over) return
    this.#end()
    this.#abandoned()
  }

  read(reader: BodyReader): void {
    this.#reader = reader
  }

  pause(): void {
    if (!this.#over) this.#socket.pause()
  }

  resume(): void {
    if (!this.#over) this.#socket.resume()
  }

  plain(): boolean {
    const [coding = 'chunked', ...more] = headerValues(this.rawHeaders, 'transfer-encoding')
    return coding.toLowerCase() === 'chunked' && more.length === 0
  }

  /**
   * Whether the connection is good for another request: the upstream says so, and has heard all of this one. Who was
   * asked to change the protocol and did not may yet think that it did.
   */
  get reusable(): boolean {
    return this.#keepAlive && this.#sent && !this.#outgoing.switching
  }

  onHead(head: { status: number; rawHeaders: string[]; isOld: boolean; keepAlive: boolean }): Follows {
    if (this.answered) throw new Error('a second answer came')
    this.status = head.status
    this.rawHeaders = head.rawHeaders
    if (head.status === 101) return 'protocol'
    if (head.status >= 100 && head.status < 200) {
      this.#interim += 1
      if (this.#interim > maxInterim) throw new Error('too many interim answers')
      return 'answer'
    }
    const isCoded = headerValues(head.rawHeaders, 'transfer-encoding').length > 0
    // RFC 9112 section 6.1: by HTTP/1.0 no coding frames anything, and two readers may differ about where an odd one ends.
    this.#keepAlive = head.keepAlive && !(isCoded && (head.isOld || !this.plain()))
    // Section 6.3 there.
    const bodiless = this.#outgoing.tuple.method === 'HEAD' || head.status === 204 || head.status === 304
    const [length] = headerValues(head.rawHeaders, 'content-length')
    this.headOnly = bodiless || length === '0'
    this.untilClose = !bodiless && length === undefined && !isCoded
    this.answered = true
    this.#events.answered(this)
    return bodiless ? 'answer' : 'body'
  }

  onBody(part: Buffer): void {
    this.#parts.push(part)
  }

  /** A piece of the connection has been read: what it had of the body goes on as one, in however many chunks it came. */
  onRead(): void {
    const parts = this.#parts
    const [first] = parts
    if (first === undefined) return
    this.#parts = []
    this.#reader?.data(parts.length === 1 ? first : Buffer.concat(parts))
  }

  /** The answer is whole. */
  onComplete(trailers: readonly string[]): void {
    this.onRead()
    this.resume()
    this.#end()
    this.#reader?.ended(trailers)
  }

  /** The connection speaks another protocol from `early` on. */
  onSwitched(early: Buffer): void {
    this.#end()
    const { status, rawHeaders } = this
    this.#events.switched({ status, rawHeaders, socket: this.#socket, early })
  }

  onTimeout(): void {
    this.#events.timedOut()
  }

  onFailed(error: unknown): void {
    if (this.#over) return
    this.#end()
    // Without a reader nobody else would hear of it: `answered` may have thrown before it read.
    if (this.#reader === undefined) this.#events.failed(error)
    else this.#reader.failed()
  }

  #end(): void {
    this.#over = true
    // What is still to come of it is not read.
    if (!this.#sent) this.#body?.off('data', this.#pass).pause()
  }

  get #isChunked(): boolean {
    return this.#outgoing.content === 'chunked'
  }

  readonly #pass = (piece: Buffer): void => {
    if (piece.length === 0) return
    const socket = this.#socket
    if (this.#isChunked) socket.write(`${piece.length.toString(16)}\r\n`, 'latin1')
    else {
      this.#toSend -= piece.length
      if (this.#toSend < 0) return this.#miscounted()
    }
    let more = socket.write(piece)
    if (this.#isChunked) more = socket.write('\r\n', 'latin1')
    if (more) return
    this.#body?.pause()
    socket.once('drain', () => this.#body?.resume())
  }

  /** Sending it would make its end, or the next request, a part of the other. */
  #miscounted(): void {
    const error = new Error('a body had another length than it said')
    this.#abandoned()
    this.onFailed(error)
  }
}

/** The head as it is sent. Throws on whatever would make another head of it. */
function writtenHead(outgoing: Outgoing): string {
  const { tuple, headers } = outgoing
  const target = tuple.path + tuple.query
  if (!/^[\x21-\xff]+$/.test(target)) throw new Error('a target has a character that it must not have')
  return `${wireMethod(tuple)} ${target} HTTP/1.1\r\n${written(headers)}${written(framing(outgoing))}\r\n`
}

function written(fields: readonly string[]): string {
  let lines = ''
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? ''
    const value = fields[i + 1] ?? ''
    http.validateHeaderName(name)
    http.validateHeaderValue(name, value)
    lines += `${name}: ${value}\r\n`
  }
  return lines
}

/** What is said on this hop alone: how the body is framed, as it came, and what the connection becomes. */
function framing({ tuple, content, switching }: Outgoing): string[] {
  if (switching) return ['Connection', 'Upgrade', 'Upgrade', 'websocket']
  const keep = ['Connection', 'keep-alive']
  if (content === 'chunked') return [...keep, 'Transfer-Encoding', 'chunked']
  if (content !== undefined) return [...keep, 'Content-Length', String(content)]
  const { method } = tuple
  return method === 'POST' || method === 'PUT' || method === 'PATCH' ? [...keep, 'Content-Length', '0'] : keep
}
