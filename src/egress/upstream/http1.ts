import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import { pairsOf } from '../request/fields.ts'
import { wireMethod } from '../request/websocket.ts'
import type { Channel, Outgoing, UpstreamAnswer, UpstreamEvents, UpstreamRequest } from './channel.ts'
import type { Connect, Place } from './connection.ts'

/** More interim answers than any server has a reason to send. */
const maxInterim = 16

export interface Http1 {
  /** `name` is the place's `poolName`; `ready` is a connection to use for the first request that needs one. */
  channel(place: Place, name: string, ready?: Duplex): Channel
  drop(): void
  close(): void
}

/** Requests by HTTP/1.1 over kept connections. */
export function createHttp1(options: {
  connect: Connect
  idleTimeoutMs: number
  maxHeaderSize: number
}): Http1 {
  const agent = new PinnedAgent(options.connect)
  return {
    channel: (place, name, ready) => ({
      release: () => void ready?.destroy(),
      open(outgoing, events) {
        const { tuple, headers } = outgoing
        const settings: RequestOptions & PinnedOptions = {
          agent,
          method: wireMethod(tuple),
          host: tuple.host,
          port: tuple.port,
          path: tuple.path + tuple.query,
          headers: [...headers, ...framing(outgoing)],
          maxHeaderSize: options.maxHeaderSize,
          timeout: options.idleTimeoutMs,
          pinned: { place, name, ready },
        }
        const message = request(settings)
        const sent = new Http1Request(message, events)
        // Who was asked to change the protocol and did not may yet think that it did.
        if (outgoing.switching) message.shouldKeepAlive = false
        // A kept one had become free in the meantime.
        if (settings.pinned.ready !== undefined) ready?.destroy()
        return sent
      },
    }),
    drop: () => agent.dropIdle(),
    close: () => agent.destroy(),
  }
}

class Http1Request implements UpstreamRequest {
  readonly #request: ClientRequest
  #body: Readable | undefined

  constructor(sent: ClientRequest, events: UpstreamEvents) {
    this.#request = sent
    sent.on('error', (err) => events.failed(err))
    sent.on('timeout', () => events.timedOut())
    let interim = 0
    sent.on('information', () => {
      interim += 1
      if (interim > maxInterim) sent.destroy(new Error('too many interim answers'))
    })
    sent.on('upgrade', ({ statusCode, rawHeaders }, socket, early) =>
      events.switched({ status: statusCode ?? 0, rawHeaders, socket: socket as Socket, early }),
    )
    sent.on('response', (answer) => {
      answer.on('error', () => undefined)
      events.answered(new Http1UpstreamAnswer(answer, sent.method))
    })
  }

  send(body: Readable | undefined, trailers: () => readonly string[]): void {
    if (body === undefined) {
      this.#request.end()
      return
    }
    this.#body = body
    body.pipe(this.#request, { end: false })
    body.once('end', () => {
      if (this.#request.destroyed) return
      const fields = trailers()
      if (fields.length > 0) this.#request.addTrailers(pairsOf(fields))
      this.#request.end()
    })
  }

  abort(): void {
    this.#body?.unpipe(this.#request)
    this.#request.destroy()
  }
}

class Http1UpstreamAnswer implements UpstreamAnswer {
  readonly status: number
  readonly rawHeaders: readonly string[]
  readonly headOnly: boolean
  readonly body: IncomingMessage

  constructor(answer: IncomingMessage, method: string) {
    this.status = answer.statusCode ?? 502
    this.rawHeaders = answer.rawHeaders
    this.body = answer
    // RFC 9112 section 6.3
    this.headOnly =
      method === 'HEAD' ||
      this.status === 204 ||
      this.status === 304 ||
      answer.headers['content-length'] === '0'
  }

  plain(): boolean {
    const encoding = this.body.headers['transfer-encoding']
    return encoding === undefined || encoding.toLowerCase() === 'chunked'
  }

  whole(): boolean {
    return this.body.complete
  }

  trailers(): readonly string[] {
    return this.body.rawTrailers
  }
}

/** What is said on this hop alone: how the body is framed, as it came, and what the connection becomes. */
function framing({ tuple, content, switching }: Outgoing): string[] {
  if (switching) return ['Connection', 'Upgrade', 'Upgrade', 'websocket']
  if (content === 'chunked') return ['Transfer-Encoding', 'chunked']
  if (content !== undefined) return ['Content-Length', String(content)]
  const { method } = tuple
  return method === 'POST' || method === 'PUT' || method === 'PATCH' ? ['Content-Length', '0'] : []
}

interface PinnedOptions {
  pinned: { place: Place; name: string; ready: Duplex | undefined }
}

class PinnedAgent extends Agent {
  readonly #connect: Connect

  constructor(connect: Connect) {
    // Shorter than the 5 s after which most servers close an idle connection, so that none is reused as it dies.
    super({ keepAlive: true, timeout: 4_000, maxFreeSockets: 64, scheduling: 'lifo' })
    this.#connect = connect
  }

  override getName(options?: object): string {
    return (options as PinnedOptions).pinned.name
  }

  override createConnection(
    options: object,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | undefined {
    const { pinned } = options as PinnedOptions
    const { ready } = pinned
    if (ready !== undefined) {
      pinned.ready = undefined
      return ready
    }
    this.#connect(pinned.place, ['http/1.1']).then(
      (socket) => callback?.(null, socket),
      // The types want a stream beside the error; the caller looks at the error first.
      (error: unknown) => callback?.(error as Error, undefined as unknown as Duplex),
    )
    return undefined
  }

  dropIdle(): void {
    for (const sockets of Object.values(this.freeSockets))
      for (const socket of sockets ?? []) socket.destroy()
  }
}
