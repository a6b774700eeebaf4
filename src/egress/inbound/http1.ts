import type { IncomingMessage, ServerResponse } from 'node:http'
import { takeTogether } from '../bounds/crumbs.ts'
import { writeTogether } from '../economy/busy.ts'
import { pairsOf } from '../request/fields.ts'
import { type Head, headerValues } from '../request/head.ts'
import type { Inbound, InboundAnswer } from './inbound.ts'
import { endSaying } from './last-words.ts'

/** Of an answer that is worth copying into a text. */
const shortBytes = 8 * 1024

/** A request by HTTP/1.1, in a tunnel or to the proxy itself. */
export class Http1Inbound implements Inbound {
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
  readonly content: Inbound['content']
  readonly answer: InboundAnswer
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  readonly #waits: boolean

  constructor(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean) {
    this.#req = req
    this.#res = res
    this.#waits = expectsContinue
    this.method = req.method ?? ''
    this.target = req.url ?? ''
    this.rawHeaders = req.rawHeaders
    this.content = contentOf(req)
    if (this.content !== undefined) {
      takeTogether(req)
      keepCounted(req)
    }
    this.answer = new Http1Answer(req, res)
  }

  get claimedHost(): string {
    return headerValues(this.rawHeaders, 'host')[0] ?? ''
  }

  complete(): boolean {
    return this.#req.complete
  }

  trailers(): readonly string[] {
    return this.#req.rawTrailers
  }

  proceed(): void {
    if (this.#waits) this.#res.writeContinue()
  }
}

/**
 * Once a request is answered Node has the rest of its body end at the parser, where nobody hears of it: a byte in each
 * chunk, for as long as the client is heard out, would cost what it costs and count for nothing.
 */
function keepCounted(req: IncomingMessage & { _dump?: () => void }): void {
  req._dump = () => void req.removeAllListeners('data').resume()
}

/** What Node writes as HTTP/1.1, whoever has the connection. */
export class ResponseAnswer {
  readonly sink: ServerResponse

  constructor(sink: ServerResponse) {
    this.sink = sink
  }

  head(status: number, headers: readonly string[], how?: { phrase?: string }): void {
    if (how?.phrase === undefined) this.sink.writeHead(status, headers as string[])
    else this.sink.writeHead(status, how.phrase, headers as string[])
  }

  flush(): void {
    this.sink.flushHeaders()
  }

  beLast(): void {
    this.sink.shouldKeepAlive = false
  }

  refuse(): boolean {
    return false
  }

  onLeft(listener: () => void): void {
    listener()
  }

  end(trailers: readonly string[], last?: Buffer): void {
    // Only a chunked answer has room for them; Node leaves them out of any other.
    if (trailers.length > 0) this.sink.addTrailers(pairsOf(trailers))
    writeTogether(() => {
      if (last === undefined) this.sink.end()
      // As a text it is one with the head, which Node writes sooner than two pieces.
      else if (last.length <= shortBytes) this.sink.end(last.toString('latin1'), 'latin1')
      else this.sink.end(last)
    })
  }
}

class Http1Answer extends ResponseAnswer implements InboundAnswer {
  readonly #req: IncomingMessage

  constructor(req: IncomingMessage, res: ServerResponse) {
    super(res)
    this.#req = req
  }

  begun(): boolean {
    return this.sink.headersSent
  }

  gone(): boolean {
    return this.sink.destroyed
  }

  override end(trailers: readonly string[], last?: Buffer): void {
    const req = this.#req
    this.#hearOut()
    // An answer that came before the body was read leaves a body that nobody will read.
    if (!req.complete) {
      this.sink.once('finish', () => {
        if (!req.complete && req.socket.writable) req.socket.destroySoon()
      })
    }
    super.end(trailers, last)
  }

  /**
   * Lets a client that is still sending do so, unheard, when its connection ends behind this answer: for the proxy's
   * reasons or for Node's, which ends it behind a request for 100 Continue that got none. Closed at once, as Node does
   * it, the connection would break under a client that reads only when it has sent all, and the answer would be lost.
   */
  #hearOut(): void {
    const req = this.#req
    const { socket } = req
    socket.destroySoon = () => {
      if (!socket.writable) return void socket.destroy()
      // Whoever counted or sent it must not take it for sent.
      req.removeAllListeners('data').resume()
      endSaying(socket)
    }
  }

  abort(): void {
    this.sink.destroy()
  }

  onClosed(listener: (whole: boolean) => void): void {
    this.sink.once('close', () => listener(this.sink.writableFinished))
  }
}

/** What the parser of Node saw of a request. */
export function headOf(req: IncomingMessage): Head {
  return {
    method: req.method ?? '',
    target: req.url ?? '',
    httpVersion: req.httpVersion,
    rawHeaders: req.rawHeaders,
  }
}

/** From the fields as they came: Node's own index of them costs more than all that is looked up in it. */
function contentOf(req: IncomingMessage): Inbound['content'] {
  if (headerValues(req.rawHeaders, 'transfer-encoding').length > 0) return { body: req, length: undefined }
  const [length = '0'] = headerValues(req.rawHeaders, 'content-length')
  return length === '0' ? undefined : { body: req, length: Number(length) }
}
