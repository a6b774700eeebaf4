import type { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { frame, frameType, headerBlock } from '../../../support/http2.ts'
import type { Chance } from '../fuzz.ts'
import type { GotAnswer } from '../wire/client.ts'
import type { Fields } from './hpack.ts'
import { number32, Peer, type Ways } from './peer.ts'
import type { PlannedStream } from './plan.ts'

/** Longer than any machine under load takes; what has not come by then is not coming. */
const patienceMs = 45_000

/** What came on one stream. */
export interface GotStream {
  /** Undefined without a head. */
  answer: GotAnswer | undefined
  trailers: Fields | undefined
  /** `end`, the code that it was reset with, `closed` with its connection, or taken `back`. */
  end: 'end' | 'closed' | 'back' | number | undefined
  /** What is wrong with it on its face. */
  fault: string | undefined
}

/** How a client behaves beside what it asks for. */
export interface Manners extends Ways {
  /** It goes after so many milliseconds, whatever comes. */
  leavesAfterMs: number | undefined
  /** It breaks the rules of the connection, with these bytes, after so many milliseconds. */
  breaks: { name: string; afterMs: number } | undefined
}

/** What no connection survives. */
export const breaches: Record<string, (stream: number) => Buffer> = {
  garbage: () => Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  'a body of no stream': () => frame(frameType.data, 0, 0, Buffer.from('x')),
  'a body of a stream to come': (stream) => frame(frameType.data, 0, stream + 1_000, Buffer.from('x')),
  'a stream of the server’s': () => frame(frameType.headers, 5, 2, headerBlock([[':method', 'GET']])),
  'CONTINUATION of nothing': (stream) => frame(frameType.continuation, 4, stream, headerBlock([['x', '1']])),
  'a frame within a head': (stream) =>
    Buffer.concat([
      frame(frameType.headers, 0, stream + 1_000, headerBlock([[':method', 'GET']])),
      frame(frameType.ping, 0, 0, Buffer.from('fuzzing!')),
    ]),
  'a head that cannot be read': (stream) =>
    frame(frameType.headers, 5, stream + 1_000, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f])),
  'a window of nothing': () => frame(frameType.windowUpdate, 0, 0, number32(0)),
  'a window beyond measure': () => frame(frameType.windowUpdate, 0, 0, number32(2 ** 31 - 1)),
  'settings that are none': () => frame(frameType.settings, 0, 0, Buffer.from([0])),
  'a ping that is none': () => frame(frameType.ping, 0, 0, Buffer.from('short')),
  'a reset of what is not': (stream) => frame(frameType.reset, 0, stream + 1_000, number32(8)),
  'a promise': (stream) => frame(5, 4, stream, Buffer.concat([number32(2), headerBlock([])])),
  'a frame that is too long': (stream) => frame(frameType.data, 0, stream, Buffer.alloc(20_000)),
  'a flood of heads': (stream) =>
    Buffer.concat([
      frame(frameType.headers, 0, stream + 1_000, headerBlock([[':method', 'GET']])),
      ...Array.from({ length: 500 }, () => frame(frameType.continuation, 0, stream + 1_000)),
    ]),
  goodbye: () => frame(frameType.goaway, 0, 0, Buffer.concat([number32(0), number32(2)])),
}

/** Asks for all on one connection, interleaved, and reads until each stream or the connection has ended. */
export async function converseByHttp2(
  socket: Socket,
  plans: readonly PlannedStream[],
  manners: Manners,
  chance: Chance,
): Promise<GotStream[]> {
  const got = plans.map(
    (): GotStream => ({ answer: undefined, trailers: undefined, end: undefined, fault: undefined }),
  )
  let wake: () => void = () => undefined
  const over = new Promise<void>((resolve) => (wake = resolve))
  const ended = (index: number, how: GotStream['end']) => {
    const one = got[index]
    if (one !== undefined) one.end ??= how
    if (got.every(({ end, fault }) => end !== undefined || fault !== undefined)) wake()
  }
  const at = (stream: number) => (stream - 1) / 2
  const peer = new Peer(socket, false, manners, chance, {
    headers(stream, fields, isEnd) {
      const one = got[at(stream)]
      if (one === undefined) return
      readHead(one, plans[at(stream)]?.expects === true, fields)
      if (isEnd) ended(at(stream), 'end')
    },
    data(stream, piece, isEnd) {
      const one = got[at(stream)]
      if (one?.answer === undefined) return
      if (one.end === 'end') one.fault = 'a body behind its end'
      one.answer.body += piece.toString('latin1')
      if (isEnd) ended(at(stream), 'end')
    },
    reset(stream, code) {
      ended(at(stream), code)
      peer.wake(stream)
    },
    goaway: () => undefined,
    closed() {
      for (const index of got.keys()) ended(index, 'closed')
      wake()
    },
  })
  const late = setTimeout(() => {
    for (const [index, one] of got.entries()) if (one.end === undefined) got[index]!.fault = 'nothing comes'
    wake()
  }, patienceMs)
  const opening = async () => {
    for (const [index, plan] of plans.entries()) {
      if (peer.closed) return
      void send(peer, 1 + 2 * index, plan, {
        stopped: () => got[index]?.end !== undefined,
        tookBack: () => ended(index, 'back'),
      })
      if (chance.once(3)) await (chance.once(2) ? nextTurn() : sleep(chance.of([1, 4, 15])))
    }
  }
  const breaking = async () => {
    if (manners.breaks === undefined) return
    await sleep(manners.breaks.afterMs)
    peer.write(breaches[manners.breaks.name]!(1 + 2 * plans.length))
  }
  const leaving = async () => {
    if (manners.leavesAfterMs === undefined) return
    await sleep(manners.leavesAfterMs)
    socket.destroy()
  }
  const all = Promise.all([opening(), breaking(), leaving()])
  await over
  clearTimeout(late)
  await all
  socket.destroy()
  if (!peer.closed) await new Promise((resolve) => socket.once('close', resolve))
  return got
}

async function send(
  peer: Peer,
  stream: number,
  plan: PlannedStream,
  { stopped, tookBack }: { stopped: () => boolean; tookBack: () => void },
): Promise<void> {
  peer.headers(stream, plan.head, plan.headEnds && plan.staysOpen !== true)
  if (plan.takenBack !== undefined) {
    const { afterMs, code } = plan.takenBack
    setTimeout(() => {
      if (stopped()) return
      tookBack()
      peer.wake(stream)
      peer.reset(stream, code)
    }, afterMs)
  }
  if (plan.headEnds) return
  const { trailers, staysOpen } = plan
  const isSent = await peer.body(stream, plan.sent, trailers === undefined && staysOpen !== true, stopped)
  if (isSent && trailers !== undefined && staysOpen !== true && !stopped())
    peer.headers(stream, trailers, true)
}

function readHead(one: GotStream, expects: boolean, fields: Fields): void {
  if (one.end === 'end') one.fault = 'a head behind its end'
  if (one.answer !== undefined) {
    one.trailers = fields
    return
  }
  const valueOf = (name: string) => fields.find(([own]) => own === name)?.[1]
  const status = Number(valueOf(':status'))
  if (status < 200) {
    if (status !== 100 || !expects) one.fault = `an interim answer, ${status}`
    return
  }
  one.answer = {
    status,
    head: fields.map(([name, value]) => `${name}: ${value}\r\n`).join(''),
    body: '',
    id: valueOf('x-id'),
    denied: valueOf('x-toolcrib-denied'),
    isLast: false,
    untilClose: false,
  }
}
