import type { Socket } from 'node:net'
import { takeTogether } from '../bounds/crumbs.ts'
import { readFairly } from '../bounds/fair-reading.ts'
import type { Part } from '../bounds/loop-share.ts'
import { putWaitingCrumbsTogether } from '../bounds/waiting-crumbs.ts'
import { AnswerParser, type Follows } from './answer-parser.ts'
import type { Channel, Outgoing, UpstreamEvents, UpstreamRequest } from './channel.ts'
import { Http1Exchange } from './http1-exchange.ts'
import { readBeforeBreak, readRest } from './rest.ts'

export interface ConnectionOptions {
  /** Of the loop, which belongs to whoever the connection is for. */
  part: Part
  /** How long a request may pass no byte in either direction. */
  idleTimeoutMs: number
  maxHeaderSize: number
  /** It is free for another request. */
  rested: () => void
  /** It has closed, or is about to. */
  gone: () => void
}

/**
 * One connection to an upstream by HTTP/1.1, for one request at a time. Whatever comes unasked, breaks the framing or
 * ends before its time closes it: no byte of one answer is ever taken for a part of another.
 */
export class Connection implements Channel {
  readonly #socket: Socket
  readonly #options: ConnectionOptions
  readonly #parser: AnswerParser
  #exchange: Http1Exchange | undefined
  #closed = false

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    this.#parser = new AnswerParser(
      {
        // What comes right behind an answer, in the same piece, is refused as it begins: the rest of it would be read
        // into the next one.
        begun: () => void this.#asked(),
        head: (head): Follows => this.#asked().onHead(head),
        body: (part) => this.#asked().onBody(part),
        complete: (trailers) => this.#complete(trailers),
      },
      options.maxHeaderSize,
    )
    readBeforeBreak(socket, (piece) => {
      if (!this.#closed) this.#read(piece)
    })
    readFairly(socket, options.part)
    takeTogether(socket)
    putWaitingCrumbsTogether(socket)
    socket.setTimeout(options.idleTimeoutMs, () => this.#exchange?.onTimeout())
    socket.on('data', this.#read)
    socket.on('end', this.#end)
    socket.on('error', this.#break)
    socket.on('close', this.#break)
  }

  get closed(): boolean {
    return this.#closed
  }

  open(outgoing: Outgoing, events: UpstreamEvents): UpstreamRequest {
    if (this.#exchange !== undefined || this.#closed) throw new Error('the connection is in use, or closed')
    const exchange = new Http1Exchange(this.#socket, outgoing, events, () => {
      if (this.#exchange === exchange) this.#leave()
    })
    this.#exchange = exchange
    return exchange
  }

  release(): void {
    if (this.#exchange === undefined && !this.#closed) this.#options.rested()
  }

  close(): void {
    this.#fail(new Error('the connection was closed'))
  }

  #asked(): Http1Exchange {
    if (this.#exchange === undefined) throw new Error('an answer came that nobody asked for')
    return this.#exchange
  }

  readonly #read = (piece: Buffer): void => {
    try {
      // What the parser would take for the beginning of an answer may be none, and still was not asked for.
      const exchange = this.#asked()
      const rest = this.#parser.read(piece)
      if (rest === undefined) return exchange.onRead()
      this.#leave({ keepSocket: true })
      exchange.onSwitched(rest)
    } catch (err) {
      this.#fail(err)
    }
  }

  readonly #end = (): void => {
    try {
      // The body of an answer without a length ends here.
      this.#parser.finish()
      this.#fail(new Error('the connection ended before an answer'))
    } catch (err) {
      this.#fail(err)
    }
  }

  #complete(trailers: string[]): void {
    const exchange = this.#asked()
    if (!exchange.answered) return
    this.#exchange = undefined
    if (exchange.reusable) this.#options.rested()
    else this.#leave()
    exchange.onComplete(trailers)
  }

  /** It broke off, or is closed: perhaps behind an answer that has come whole, and is made to wait. */
  readonly #break = (error: unknown): void => {
    readRest(this.#socket, this.#read)
    this.#fail(error)
  }

  #fail(error: unknown): void {
    const exchange = this.#exchange
    this.#leave()
    exchange?.onFailed(error instanceof Error ? error : new Error('the connection was closed'))
  }

  #leave({ keepSocket = false } = {}): void {
    this.#exchange = undefined
    if (this.#closed) return
    this.#closed = true
    const socket = this.#socket
    socket.off('data', this.#read)
    socket.off('end', this.#end)
    socket.off('close', this.#break)
    if (keepSocket) {
      socket.off('error', this.#break)
      socket.removeAllListeners('timeout').setTimeout(0)
    } else socket.destroy()
    this.#options.gone()
    // Not while it reads.
    setImmediate(() => this.#parser.free())
  }
}
