import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { http } from '../../core/index.ts'
import { pairsOf } from '../request/fields.ts'
import type { Handshake } from '../request/websocket.ts'
import { ResponseAnswer } from './http1.ts'
import type { Inbound, InboundAnswer, WebSocketOffer } from './inbound.ts'

/** A request in a tunnel to change the protocol: answered like any other, or by the change. */
export class SwitchingInbound implements Inbound {
  readonly method: string
  readonly target: string
  readonly claimedHost: string
  readonly rawHeaders: readonly string[]
  readonly content = undefined
  readonly answer: SwitchingAnswer
  readonly webSocket: WebSocketOffer | undefined

  /** `handshake` is undefined where nothing but a refusal can come of it. The connection must owe no answer. */
  constructor(req: IncomingMessage, socket: Socket, handshake: Handshake | undefined) {
    const answer = new SwitchingAnswer(req, socket)
    this.method = req.method ?? ''
    this.target = req.url ?? ''
    this.claimedHost = req.headers.host ?? ''
    // None is offered, so that every frame says itself what it is.
    this.rawHeaders = pairsOf(req.rawHeaders)
      .filter(([name]) => name.toLowerCase() !== 'sec-websocket-extensions')
      .flat()
    this.answer = answer
    this.webSocket =
      handshake === undefined ? undefined : { handshake, open: (headers) => answer.switchTo(headers) }
  }

  complete(): boolean {
    return true
  }

  trailers(): readonly string[] {
    return []
  }

  proceed(): void {
    // It has no body.
  }
}

/** Node has let go of the connection: whatever is answered is its last. */
class SwitchingAnswer extends ResponseAnswer implements InboundAnswer {
  readonly #socket: Socket
  readonly #drained = () => void this.sink.emit('drain')
  /** A client that waits for its answer has nothing to say (RFC 6455 section 4.1); unread, it would hide that it leaves. */
  readonly #early = () => {
    if (!this.begun()) this.#socket.destroy()
  }
  #switched = false

  constructor(req: IncomingMessage, socket: Socket) {
    super(new http.ServerResponse(req))
    this.#socket = socket
    this.sink.shouldKeepAlive = false
    this.sink.assignSocket(socket)
    this.sink.once('finish', () => socket.destroySoon())
    // Node would say both, had it not let go: that the connection wants more, and whether it is being waited for.
    socket.on('drain', this.#drained)
    socket.on('data', this.#early)
    Object.defineProperty(this.sink, 'writableNeedDrain', { get: () => socket.writableNeedDrain })
    socket.on('error', () => socket.destroy())
    socket.setTimeout(0)
  }

  begun(): boolean {
    return this.#switched || this.sink.headersSent
  }

  gone(): boolean {
    return this.#socket.destroyed
  }

  abort(): void {
    this.#socket.destroy()
  }

  onClosed(listener: (whole: boolean) => void): void {
    this.#socket.once('close', () => listener(!this.#switched && this.sink.writableFinished))
  }

  switchTo(headers: readonly string[]): Duplex {
    this.#switched = true
    this.#socket.off('drain', this.#drained)
    // Nothing of what comes from here on is lost until somebody reads it.
    this.#socket.off('data', this.#early).pause()
    this.sink.detachSocket(this.#socket)
    const lines = pairsOf(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    this.#socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${lines.join('')}\r\n`,
      'latin1',
    )
    return this.#socket
  }
}
