import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from '../fuzz.ts'
import type { PlannedRequest } from './plan.ts'

/** Longer than any machine under load takes; what has not come by then is not coming. */
const patienceMs = 45_000

export interface GotAnswer {
  status: number
  head: string
  body: string
  /** Which request its upstream answered; left out of what the proxy says of its own. */
  id: string | undefined
  /** Why the proxy refused. */
  denied: string | undefined
  /** It says that nothing comes behind it. */
  isLast: boolean
  /** Only the end of its connection ends it, so that one that is cut looks whole. */
  untilClose: boolean
}

/** How a client behaves beside what it asks for. */
export interface Manners {
  /** It goes after so many bytes, whatever comes. */
  leavesAfter: number | undefined
  /** It ends its side when it has sent all. */
  halfCloses: boolean
  /** It reads only when it has sent all, as simple clients do. */
  readsLate: boolean
}

export interface Conversation {
  answers: GotAnswer[]
  /** Everything that came. */
  text: string
  /** What of it belongs to no whole answer. */
  rest: string
  /** What is wrong with it on its face. */
  fault: string | undefined
  /** The connection broke, as it does under a client that still sends. */
  broke: boolean
  /** From its first byte to its last, or to the end of the connection. */
  sendingMs: number
}

/** Sends all requests as one stream of bytes, cut anywhere, and reads the answers until all or the end have come. */
export async function converse(
  socket: Socket,
  requests: readonly PlannedRequest[],
  manners: Manners,
  chance: Chance,
): Promise<Conversation> {
  const got: Conversation = { answers: [], text: '', rest: '', fault: undefined, broke: false, sendingMs: 0 }
  const reader = new AnswerReader(got, requests)
  let closed = false
  let wake: () => void = () => undefined
  const changed = () => new Promise<void>((resolve) => (wake = resolve))
  socket.on('error', () => (got.broke = true))
  socket.on('close', () => {
    closed = true
    wake()
  })
  socket.on('drain', () => wake())
  socket.on('data', (piece: Buffer) => {
    got.text += piece.toString('latin1')
    wake()
  })
  if (manners.readsLate) socket.pause()
  const late = setTimeout(() => {
    got.fault = `answer ${got.answers.length} does not come: ${got.text.slice(reader.at, reader.at + 200)}`
    wake()
  }, patienceMs)
  const since = performance.now()
  const bytes = Buffer.from(requests.map((each) => each.bytes).join(''), 'latin1')
  for (let sent = 0; sent < bytes.length && !closed && socket.writable && got.fault === undefined; ) {
    if (manners.leavesAfter !== undefined && sent >= manners.leavesAfter) {
      socket.destroy()
      break
    }
    const part = bytes.subarray(sent, sent + 1 + chance.below(chance.of([3, 100, 5_000, 100_000])))
    sent += part.length
    if (!socket.write(part)) await changed()
    if (chance.once(3)) await pause(chance.of([0, 0, 1, 4]))
  }
  got.sendingMs = performance.now() - since
  if (manners.halfCloses) socket.end()
  socket.resume()
  while (got.fault === undefined && !reader.readMore(closed) && !closed) await changed()
  clearTimeout(late)
  got.rest = got.text.slice(reader.at)
  socket.destroy()
  while (!closed) await changed()
  return got
}

async function pause(ms: number): Promise<void> {
  if (ms === 0) await nextTurn()
  else await sleep(ms)
}

/** Reads answers as a strict client does, each by the request that it is to. */
class AnswerReader {
  readonly #got: Conversation
  readonly #requests: readonly PlannedRequest[]
  /** How far it has read. */
  at = 0

  constructor(got: Conversation, requests: readonly PlannedRequest[]) {
    this.#got = got
    this.#requests = requests
  }

  /** Whether all have come. */
  readMore(closed: boolean): boolean {
    const { answers, text } = this.#got
    for (;;) {
      const request = this.#requests[answers.length]
      if (request === undefined) {
        if (text.length > this.at) this.#fault('bytes behind the last answer')
        return true
      }
      const headEnd = text.indexOf('\r\n\r\n', this.at)
      if (headEnd === -1) return false
      const head = text.slice(this.at, headEnd)
      const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(`${head} `)?.[1])
      if (Number.isNaN(status)) return this.#fault('no answer where one is due')
      if (status < 200) {
        if (status !== 100 || request.expects !== true) return this.#fault('an interim answer')
        this.at = headEnd + 4
        continue
      }
      const bodiless = request.method === 'HEAD' || status === 204 || status === 304
      const body = bodiless ? { text: '', end: headEnd + 4 } : this.#body(head, headEnd + 4, closed)
      if (body === undefined) return this.#got.fault !== undefined
      this.at = body.end
      answers.push({
        status,
        head,
        body: body.text,
        id: /\r\nx-id: (\S+)/i.exec(head)?.[1],
        denied: /\r\nx-toolcrib-denied: (\S+)/i.exec(head)?.[1],
        untilClose: !bodiless && !/\r\n(?:content-length|transfer-encoding): /i.test(head),
        isLast: /\r\nconnection: close/i.test(head),
      })
    }
  }

  #body(head: string, from: number, closed: boolean): { text: string; end: number } | undefined {
    const { text } = this.#got
    if (/\r\ntransfer-encoding: chunked/i.test(head)) return this.#chunks(from)
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
    if (length === undefined) return closed ? { text: text.slice(from), end: text.length } : undefined
    const bodyEnd = from + Number(length)
    return text.length < bodyEnd ? undefined : { text: text.slice(from, bodyEnd), end: bodyEnd }
  }

  #chunks(from: number): { text: string; end: number } | undefined {
    const { text } = this.#got
    let body = ''
    for (let at = from; ; ) {
      const lineEnd = text.indexOf('\r\n', at)
      if (lineEnd === -1) return undefined
      const line = text.slice(at, lineEnd)
      if (!/^[0-9a-f]+$/i.test(line)) return void this.#fault('no chunk')
      const length = Number.parseInt(line, 16)
      if (length === 0) {
        const trailers = /\r\n(?:[^\r\n]+\r\n)*\r\n/y
        trailers.lastIndex = lineEnd
        return trailers.test(text) ? { text: body, end: trailers.lastIndex } : undefined
      }
      if (text.length < lineEnd + 4 + length) return undefined
      body += text.slice(lineEnd + 2, lineEnd + 2 + length)
      at = lineEnd + 4 + length
    }
  }

  #fault(what: string): true {
    this.#got.fault = `${what}: ${this.#got.text.slice(this.at, this.at + 300)}`
    return true
  }
}
