import { createServer as createTcpServer, type Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import { theSecret, type World } from '../../../support/egress-world.ts'
import { byServerName, listenLocally } from '../../../support/listening.ts'
import { breakOff, end, host, type PlannedRequest, restOfRequest, type SeenRequest } from './plan.ts'

/** What an upstream is to do, what it was sent, and what it was sent wrongly. */
export class Script {
  readonly planned = new Map<string, PlannedRequest>()
  readonly seen = new Map<string, SeenRequest>()
  readonly faults: string[] = []
}

export interface Upstreams extends AsyncDisposable {
  securePort: number
  plainPort: number
  /** Breaks every connection off, so that none says anything of what was asked before. */
  dropConnections(): void
}

/**
 * Upstreams by https and by plain http that take a request only as it must be written, hold it against its plan, and
 * answer as planned, byte for byte.
 */
export async function startUpstreams(world: World, script: Script): Promise<Upstreams> {
  const sockets = new Set<Socket>()
  const serve = (secure: boolean) => (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
    const connection = new Connection(socket, secure, script)
    socket.on('data', (piece: Buffer) => connection.read(piece))
  }
  const context = await world.upstreamContext(host)
  const secure = createTlsServer(
    { ...byServerName(async () => context), ALPNProtocols: ['http/1.1'] },
    serve(true),
  )
  secure.on('tlsClientError', () => undefined)
  const plain = createTcpServer(serve(false))
  const dropConnections = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    dropConnections,
    securePort: await listenLocally(secure),
    plainPort: await listenLocally(plain),
    async [Symbol.asyncDispose]() {
      dropConnections()
      for (const server of [secure, plain]) await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Current {
  request: PlannedRequest
  seen: SeenRequest
  chunked: boolean
  /** Of the body, or of the chunk that is being read. */
  left: number
  readingChunk: boolean
  answered: boolean
  wholeNow: () => void
  whole: Promise<void>
}

/** Reads one request after the other, strictly. */
class Connection {
  readonly #socket: Socket
  readonly #secure: boolean
  readonly #script: Script
  #text = ''
  #current: Current | undefined
  /** The last answer. */
  #answered = 'nothing'
  #leaves: 'good' | 'spent' | 'doubtful' = 'good'

  constructor(socket: Socket, secure: boolean, script: Script) {
    this.#socket = socket
    this.#secure = secure
    this.#script = script
  }

  read(piece: Buffer): void {
    this.#text += piece.toString('latin1')
    while (!this.#socket.destroyed && (this.#current ?? this.#begin()) !== undefined) {
      const current = this.#current
      if (current === undefined || !this.#readBody(current)) return
      this.#current = undefined
      current.seen.whole = true
      current.wholeNow()
      if (!current.request.answer?.early) void this.#answer(current)
      if (this.#text !== '' && !current.answered && this.#leaves !== 'doubtful')
        this.#fault(`bytes behind ${current.request.id} before its answer: ${this.#text.slice(0, 100)}`)
    }
  }

  #fault(what: string): undefined {
    this.#script.faults.push(`${what} (behind ${this.#answered})`)
    this.#socket.destroy()
    return undefined
  }

  #begin(): Current | undefined {
    const headEnd = this.#text.indexOf('\r\n\r\n')
    if (headEnd === -1) return undefined
    const [line = '', ...fields] = this.#text.slice(0, headEnd).split('\r\n')
    this.#text = this.#text.slice(headEnd + 4)
    const [, method, id = ''] = /^([A-Z]+) \/ok\/(\S+) HTTP\/1\.1$/.exec(line) ?? []
    const request = this.#script.planned.get(id)
    const wrong = this.#wrongWith(request, method, fields)
    if (request === undefined || wrong !== undefined)
      return this.#fault(`${wrong}: ${line} ${fields.join(' | ')}`.slice(0, 500))
    const doubtful = this.#leaves === 'doubtful'
    const seen = { at: this.#script.seen.size, whole: false, body: '', doubtful }
    this.#script.seen.set(id, seen)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#current = {
      request,
      seen,
      chunked: valuesOf(fields, 'transfer-encoding').length > 0,
      left: Number(valuesOf(fields, 'content-length')[0] ?? 0),
      readingChunk: false,
      answered: false,
      wholeNow: resolve,
      whole: promise,
    }
    if (request.answer?.early) void this.#answer(this.#current)
    return this.#current
  }

  /** What is wrong with a head, if anything is. */
  #wrongWith(
    request: PlannedRequest | undefined,
    method: string | undefined,
    fields: string[],
  ): string | undefined {
    if (request === undefined) return 'a request that nobody made'
    if (this.#script.seen.has(request.id)) return 'a request was sent twice'
    if (method !== request.method) return 'another method'
    if (this.#leaves === 'spent') return 'a request came on a connection that was over'
    if (valuesOf(fields, 'host').join() !== `${host}:${this.#socket.localPort}`) return 'another host'
    const expected = this.#secure ? `Bearer ${theSecret}` : ''
    if (valuesOf(fields, 'authorization').join() !== expected) return 'another credential'
    if (valuesOf(fields, 'connection').join() !== 'keep-alive') return 'another connection'
    const framing = [...valuesOf(fields, 'transfer-encoding'), ...valuesOf(fields, 'content-length')]
    if (framing.length > 1 || !/^(?:chunked|\d+)?$/.test(framing.join())) return 'another framing'
    return undefined
  }

  /** Whether it has come to its end. */
  #readBody(current: Current): boolean {
    if (!current.chunked) {
      this.#take(current)
      return current.left === 0
    }
    for (;;) {
      if (current.left > 0) this.#take(current)
      const lineEnd = current.left > 0 ? -1 : this.#text.indexOf('\r\n')
      if (lineEnd === -1) return false
      const line = this.#text.slice(0, lineEnd)
      this.#text = this.#text.slice(lineEnd + 2)
      // A tunnel's trailers are not passed on, for a credential goes with its requests.
      if (current.left === -1 && line === 'X-T: 1' && !this.#secure) continue
      const isEnd = current.readingChunk
      if (isEnd ? line !== '' : !/^[0-9a-f]+$/.test(line)) {
        this.#fault(`no chunk in ${current.request.id}: ${line.slice(0, 100)}`)
        return false
      }
      if (isEnd && current.left === -1) return true
      current.readingChunk = !isEnd
      if (!isEnd) current.left = Number.parseInt(line, 16) || -1
    }
  }

  #take(current: Current): void {
    const part = this.#text.slice(0, current.left)
    this.#text = this.#text.slice(part.length)
    current.left -= part.length
    current.seen.body += part
  }

  async #answer(current: Current): Promise<void> {
    const { answer } = current.request
    if (answer === undefined) return
    // What is doubtful once stays so: whose answer is read as whose cannot be told any more.
    if (this.#leaves === 'good') this.#leaves = answer.leaves
    this.#answered = answer.kind
    const socket = this.#socket
    for (const step of answer.steps) {
      if (!socket.writable) break
      if (step === end) socket.end()
      else if (step === breakOff) socket.destroy()
      else if (step === restOfRequest) await current.whole
      else if (step === 0) await nextTurn()
      else if (typeof step === 'number') await sleep(step)
      else socket.write(step, 'latin1')
    }
    current.answered = true
  }
}

function valuesOf(fields: readonly string[], name: string): string[] {
  return fields.flatMap((field) => {
    const colon = field.indexOf(': ')
    return field.slice(0, colon).toLowerCase() === name ? [field.slice(colon + 2)] : []
  })
}
