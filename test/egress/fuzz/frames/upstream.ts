import type { Socket } from 'node:net'
import { createServer } from 'node:tls'
import { theSecret, type World } from '../../../support/egress-world.ts'
import { byServerName, listenLocally } from '../../../support/listening.ts'
import { Chance } from '../fuzz.ts'
import { host, type SeenRequest } from '../wire/plan.ts'
import type { Script } from '../wire/upstream.ts'
import type { Fields } from './hpack.ts'
import { errorCode, makeWays, Peer, type Ways } from './peer.ts'
import type { Act } from './plan.ts'

/** One stream as whoever answers on it sees it. */
export interface Acting {
  chance: Chance
  peer: Peer
  ways: Ways
  stream: number
  /** Settles when the request has come whole, or will come no further. */
  whole: Promise<void>
  readonly isWhole: () => boolean
  /** Nobody hears what is said on it any more. */
  readonly stopped: () => boolean
  /** What follows is the end of the connection, and no other request on it can be vouched for. */
  breaks(): void
  /** Says that it has not begun with this one. */
  refuses(): void
  /** Of these it is said that they were not begun with, whatever is true of it. */
  disowns(last: number): void
  /** Says that no new streams are taken: from now on, or in general and soon. */
  leaves(soon: boolean): void
}

/** What an upstream by HTTP/2 does beside its script, by the request's id. */
export class Frames {
  readonly acts = new Map<string, Act>()
  /** Requests that were said not to be begun with, by the last word of a connection: they may come again. */
  readonly refused = new Set<string>()
  readonly script: Script

  constructor(script: Script) {
    this.script = script
  }
}

export interface FramesUpstream extends AsyncDisposable {
  port: number
  connections: ReadonlySet<Socket>
}

/** An upstream by HTTP/2 that takes a request only as it must be written, and says what its script says. */
export async function startFramesUpstream(world: World, frames: Frames): Promise<FramesUpstream> {
  const sockets = new Set<Socket>()
  const context = await world.upstreamContext(host)
  const server = createServer({ ...byServerName(async () => context), ALPNProtocols: ['h2'] }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    new Connection(socket, frames)
  })
  server.on('tlsClientError', () => undefined)
  const port = await listenLocally(server)
  return {
    port,
    connections: sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Current {
  id: string
  seen: SeenRequest
  done: boolean
  wholeNow: () => void
  whole: Promise<void>
}

let opened = 0

class Connection {
  readonly #frames: Frames
  readonly #port: number | undefined
  readonly #peer: Peer
  readonly #ways: Ways
  readonly #chance: Chance
  readonly #streams = new Map<number, Current>()
  #highest = 0
  /** Streams beyond are not taken. */
  #last = Number.POSITIVE_INFINITY
  #broken = false
  #saidGoodbye = false
  readonly #refusals = new Set<string>()

  constructor(socket: Socket, frames: Frames) {
    this.#frames = frames
    this.#port = socket.localPort
    this.#chance = new Chance((opened += 1))
    this.#ways = makeWays(this.#chance)
    this.#peer = new Peer(socket, true, this.#ways, this.#chance, {
      headers: (stream, fields, isEnd) => this.#headers(stream, fields, isEnd),
      data: (stream, piece, isEnd) => {
        const current = this.#streams.get(stream)
        if (current === undefined) return
        current.seen.body += piece.toString('latin1')
        if (isEnd) this.#whole(current)
      },
      reset: (stream) => this.#stop(stream),
      goaway: () => undefined,
      closed: () => {
        for (const stream of this.#streams.keys()) this.#stop(stream)
      },
    })
  }

  #stop(stream: number): void {
    const current = this.#streams.get(stream)
    if (current === undefined) return
    current.done = true
    current.wholeNow()
    this.#peer.wake(stream)
  }

  #whole(current: Current): void {
    current.seen.whole = true
    current.wholeNow()
  }

  #fault(what: string): void {
    this.#frames.script.faults.push(what)
    this.#peer.socket.destroy()
  }

  #headers(stream: number, fields: Fields, isEnd: boolean): void {
    const before = this.#streams.get(stream)
    if (before !== undefined) {
      if (!isEnd) return this.#fault(`trailers of ${before.id} that are not the end`)
      // What stands beside a credential must be judged first, and is not passed on.
      return fields.length > 0 ? this.#fault(`trailers of ${before.id}`) : this.#whole(before)
    }
    const id = /^\/ok\/(\S+)$/.exec(only(fields, ':path') ?? '')?.[1] ?? ''
    // It is told so before it can be known, as every server may.
    if (stream > this.#last) return void this.#frames.refused.add(id)
    this.#highest = stream
    const { script, acts } = this.#frames
    const request = script.planned.get(id)
    const act = acts.get(id)
    const wrong = this.#wrongWith(id, fields)
    if (request === undefined || act === undefined || wrong !== undefined)
      return this.#fault(`${wrong}: ${JSON.stringify(fields)}`.slice(0, 500))
    const { promise, resolve } = Promise.withResolvers<void>()
    const seen = { at: script.seen.size, whole: false, body: '', doubtful: this.#broken }
    const current: Current = { id, seen, done: false, wholeNow: resolve, whole: promise }
    script.seen.set(id, seen)
    this.#streams.set(stream, current)
    if (isEnd) this.#whole(current)
    const answer = async () => {
      if (request.answer?.early !== true) await current.whole
      if (!current.done) await act(this.#acting(stream, current))
    }
    void answer()
  }

  #acting(stream: number, current: Current): Acting {
    return {
      chance: this.#chance,
      peer: this.#peer,
      ways: this.#ways,
      stream,
      whole: current.whole,
      isWhole: () => current.seen.whole,
      stopped: () => current.done || this.#peer.closed,
      breaks: () => {
        this.#broken = true
        for (const other of this.#streams.values()) if (other !== current) other.seen.doubtful = true
      },
      refuses: () => {
        this.#refusals.add(current.id)
        // On a connection that goes on it is not sent again by the proxy.
        if (this.#saidGoodbye) this.#frames.refused.add(current.id)
        this.#peer.reset(stream, errorCode.refused)
      },
      disowns: (last) => {
        this.#last = Math.min(this.#last, last)
        for (const [other, { id, seen }] of this.#streams) {
          if (other <= last) continue
          this.#frames.refused.add(id)
          seen.doubtful = true
        }
      },
      leaves: (soon) => {
        this.#saidGoodbye = true
        // The proxy may hear it together with these.
        for (const id of this.#refusals) this.#frames.refused.add(id)
        if (!soon) this.#last = Math.min(this.#last, this.#highest)
        this.#peer.goaway(Math.min(this.#last, 2 ** 31 - 1), 0)
      },
    }
  }

  /** What is wrong with a head, if anything is. */
  #wrongWith(id: string, fields: Fields): string | undefined {
    const { script } = this.#frames
    const request = script.planned.get(id)
    if (request === undefined) return 'a request that nobody made'
    if (script.seen.has(id) && !this.#frames.refused.has(id)) return 'a request was sent twice'
    if (only(fields, ':method') !== request.method) return 'another method'
    if (only(fields, ':scheme') !== 'https') return 'another scheme'
    if (only(fields, ':authority') !== `${host}:${this.#port}`) return 'another authority'
    if (only(fields, 'authorization') !== `Bearer ${theSecret}`) return 'another credential'
    if (
      fields.some(([name]) =>
        /^(?:host|connection|transfer-encoding|upgrade|expect|x-dropped|x-b|.*[^a-z0-9:-].*|)$/.test(name),
      )
    )
      return 'a field that has no place here'
    const length = only(fields, 'content-length')
    if (length !== undefined && request.fate === 'out' && length !== String(request.body.length))
      return 'another length'
    return undefined
  }
}

/** The value of a field that is there once. */
function only(fields: Fields, name: string): string | undefined {
  const values = fields.filter(([own]) => own === name)
  return values.length > 1 ? 'more than one' : values[0]?.[1]
}
