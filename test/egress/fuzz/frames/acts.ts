import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { frame, frameFlag, frameType, headerBlock } from '../../../support/http2.ts'
import type { Chance } from '../fuzz.ts'
import { makeParts } from '../wire/answers.ts'
import type { PlannedAnswer } from '../wire/plan.ts'
import type { Fields } from './hpack.ts'
import { errorCode, number32, settings } from './peer.ts'
import type { Act, PlannedStream } from './plan.ts'
import type { Acting } from './upstream.ts'

interface Parts {
  chance: Chance
  bodiless: boolean
  /** With `:status` and the field that names the request. */
  head: (status: number | string, fields?: Fields) => Fields
  length: [string, string]
  body: Buffer
  size: number
}
type Made = Partial<PlannedAnswer> & { act: Act; refuses?: boolean }
type Kind = (parts: Parts) => Made

/** A head and what follows it, to the end. */
async function say(on: Acting, fields: Fields, body: Buffer, trailers?: Fields): Promise<void> {
  const { peer, stream, stopped } = on
  if (stopped()) return
  const isEmpty = body.length === 0 && trailers === undefined
  peer.headers(stream, fields, isEmpty)
  if (isEmpty) return
  if (!(await peer.body(stream, body, trailers === undefined, stopped))) return
  if (trailers !== undefined) peer.headers(stream, trailers, true)
}

/** The window of every stream, for a while. */
async function holdWindows({ peer, ways }: Acting, ms: number): Promise<void> {
  peer.write(settings([4, 0]))
  await sleep(ms)
  peer.write(settings([4, ways.window]))
}

const early = { early: true }

/** All that an honest upstream may do. */
const kinds: Record<string, Kind> = {
  length: ({ head, length, body }) => ({ act: (on) => say(on, head(200, [length]), body) }),
  'no length': ({ head, body }) => ({ act: (on) => say(on, head(200), body) }),
  trailers: ({ bodiless, head, body }) => ({
    act: (on) => say(on, head(200), body, bodiless ? undefined : [['x-t', '1']]),
  }),
  'trailers alone': ({ head }) => ({
    act: (on) => say(on, head(200), Buffer.alloc(0), [['x-t', '1']]),
    body: '',
  }),
  'a head alone': ({ head }) => ({
    act: (on) => say(on, head(200, [['grpc-status', '5']]), Buffer.alloc(0)),
    body: '',
  }),
  204: ({ head }) => ({ act: (on) => say(on, head(204), Buffer.alloc(0)), status: 204, body: '' }),
  304: ({ head, length }) => ({
    act: (on) => say(on, head(304, [length]), Buffer.alloc(0)),
    status: 304,
    body: '',
  }),
  empty: ({ head }) => ({
    act: (on) => say(on, head(200, [['content-length', '0']]), Buffer.alloc(0)),
    body: '',
  }),
  500: ({ head, length, body }) => ({ act: (on) => say(on, head(500, [length]), body), status: 500 }),
  interim: ({ chance, head, length, body }) => ({
    act: async (on) => {
      for (let left = 1 + chance.below(10); left > 0 && !on.stopped(); left -= 1)
        on.peer.headers(on.stream, [[':status', chance.of(['103', '100'])]], false)
      await say(on, head(200, [length]), body)
    },
  }),
  gzip: ({ bodiless, head, body }) => ({
    act: (on) => say(on, head(200, [['content-encoding', 'gzip']]), bodiless ? body : gzipSync(body)),
  }),
  early: ({ head, length, body }) => ({ act: (on) => say(on, head(200, [length]), body), ...early }),
  'early, and no more': ({ head, body }) => ({
    act: async (on) => {
      await say(on, head(200), body)
      if (!on.stopped() && !on.isWhole()) on.peer.reset(on.stream, errorCode.none)
    },
    ...early,
  }),
  'begun early': ({ bodiless, head, length, body }) => ({
    act: async (on) => {
      if (bodiless) return await say(on, head(200, [length]), body)
      on.peer.headers(on.stream, head(200, [length]), false)
      await on.whole
      await on.peer.body(on.stream, body, true, on.stopped)
    },
    ...early,
  }),
  slow: ({ chance, head, length, body }) => ({
    act: async (on) => {
      await sleep(chance.below(30))
      await say(on, head(200, [length]), body)
    },
  }),
  'windows held': ({ chance, head, length, body }) => ({
    act: async (on) => {
      await holdWindows(on, chance.below(10))
      await say(on, head(200, [length]), body)
    },
  }),
  'the last ones': ({ head, length, body }) => ({
    act: async (on) => {
      on.leaves(false)
      await say(on, head(200, [length]), body)
    },
  }),
  'the last one, nearly': ({ chance, head, length, body }) => ({
    act: async (on) => {
      on.leaves(true)
      await sleep(chance.below(10))
      on.leaves(false)
      await say(on, head(200, [length]), body)
    },
  }),
}

const never = { may: ['failed', 'cut'] as const }
const unlessHead = ({ bodiless }: Pick<Parts, 'bodiless'>) =>
  bodiless ? { may: ['whole', 'failed', 'cut'] as const } : never
const codes = [
  errorCode.protocol,
  errorCode.internal,
  errorCode.cancel,
  errorCode.calm,
  errorCode.streamClosed,
]

/** A head that breaks the rules, then a body. */
const wrongHead =
  (fields: (parts: Parts) => Fields): Kind =>
  (parts) => ({ act: (on) => say(on, fields(parts), parts.body), ...never })
/** Frames that no connection survives, in place of an answer. */
const breaks =
  (bytes: (on: Acting) => Buffer): Kind =>
  () => ({
    act: (on) => {
      on.breaks()
      on.peer.write(bytes(on))
    },
    ...never,
  })

const lies: Record<string, Kind> = {
  'too short': (parts) => ({
    act: (on) => say(on, parts.head(200, [['content-length', String(parts.size + 10)]]), parts.body),
    ...unlessHead(parts),
  }),
  'too long': (parts) => ({
    act: async (on) => {
      on.breaks()
      await say(on, parts.head(200, [['content-length', String(parts.size - 1)]]), parts.body)
    },
    ...unlessHead(parts),
  }),
  'a body for HEAD or 204': ({ head }) => ({
    act: async (on) => {
      on.breaks()
      await say(on, head(204), Buffer.from('unasked'))
    },
    may: ['whole', 'failed', 'cut'],
    status: 204,
    body: '',
  }),
  'reset before': ({ chance }) => ({
    act: (on) => on.peer.reset(on.stream, chance.of(codes)),
    may: ['failed'],
    early: chance.once(2),
  }),
  'reset without an error': ({ chance }) => ({
    act: (on) => on.peer.reset(on.stream, errorCode.none),
    may: ['failed'],
    early: chance.once(2),
  }),
  refused: ({ chance }) => ({
    act: (on) => on.refuses(),
    may: ['failed'],
    refuses: true,
    early: chance.once(2),
  }),
  'refused behind an interim answer': () => ({
    act: (on) => {
      on.peer.headers(on.stream, [[':status', '103']], false)
      on.peer.reset(on.stream, errorCode.refused)
    },
    may: ['failed'],
  }),
  'reset in the middle': (parts) => ({
    act: async (on) => {
      const { peer, stream } = on
      if (on.stopped()) return
      peer.headers(stream, parts.head(200, parts.chance.once(2) ? [parts.length] : []), false)
      await peer.body(stream, parts.body.subarray(0, parts.body.length / 2), false, on.stopped)
      if (!on.stopped()) peer.reset(stream, parts.chance.of([...codes, errorCode.none, errorCode.refused]))
    },
    ...unlessHead(parts),
    early: parts.chance.once(2),
  }),
  'no status': wrongHead(({ head, length }) => head(200, [length]).slice(1)),
  'a status that there is not': wrongHead(({ chance, head, length }) =>
    head(chance.of(['099', '000', '600', '999', '20', '2000', 'abc', '101']), [length]),
  ),
  'two lengths': wrongHead(({ head, length, size }) =>
    head(200, [length, ['content-length', String(size + 3)]]),
  ),
  'no length that is one': wrongHead(({ chance, head, size }) =>
    head(200, [['content-length', chance.of([`+${size}`, '-1', '9'.repeat(23), ''])]]),
  ),
  'a name in capitals': wrongHead(({ head, length }) => head(200, [length, ['X-A', '1']])),
  // It is dropped, as in a request.
  'a value with a line break': ({ head, length, body }) => ({
    act: (on) => say(on, head(200, [length, ['x-dropped', 'a\r\nx-dropped: c']]), body),
    may: ['whole'],
  }),
  'a field of one hop': wrongHead(({ head, length }) => head(200, [length, ['connection', 'close']])),
  'a head that is too long': wrongHead(({ head, length }) =>
    head(200, [length, ...Array.from({ length: 3_000 }, (): [string, string] => ['x-a', '123456'])]),
  ),
  'a pseudo-header in trailers': (parts) => ({
    act: (on) => say(on, parts.head(200), parts.body, [[':status', '200']]),
    ...unlessHead(parts),
  }),
  'trailers that do not end': (parts) => ({
    act: async (on) => {
      const { peer, stream } = on
      peer.headers(stream, parts.head(200), false)
      if (await peer.body(stream, parts.body, false, on.stopped)) peer.headers(stream, [['x-t', '1']], false)
    },
    ...unlessHead(parts),
  }),
  'a flood of interim answers': (parts) => ({
    act: async (on) => {
      for (let left = 17 + parts.chance.below(50); left > 0; left -= 1)
        on.peer.headers(on.stream, [[':status', '103']], false)
      await say(on, parts.head(200, [parts.length]), parts.body)
    },
    ...never,
  }),
  'an interim answer that ends': () => ({
    act: (on) => on.peer.headers(on.stream, [[':status', '103']], true),
    ...never,
  }),
  'a body without a head': ({ body }) => ({
    act: (on) => {
      on.breaks()
      on.peer.write(frame(frameType.data, 0, on.stream, body.subarray(0, 100)))
    },
    ...never,
  }),
  'more behind its end': ({ chance, head, length, body }) => ({
    act: async (on) => {
      on.breaks()
      await say(on, head(200, [length]), body)
      const more = [
        frame(frameType.data, frameFlag.endStream, on.stream, Buffer.from('UNASKED')),
        frame(frameType.headers, 5, on.stream, headerBlock([[':status', '200']])),
        frame(frameType.reset, 0, on.stream, number32(errorCode.refused)),
        frame(frameType.windowUpdate, 0, on.stream, number32(10)),
      ]
      on.peer.write(chance.of(more))
    },
    may: ['whole', 'failed', 'cut'],
  }),
  'a promise': breaks(({ stream }) =>
    frame(5, 4, stream, Buffer.concat([number32(2), headerBlock([[':method', 'GET']])])),
  ),
  'frames that are none': breaks(({ chance, stream }) =>
    chance.of([
      Buffer.from('HTTP/1.1 200 OK\r\n\r\n'),
      frame(frameType.data, 0, 0, Buffer.from('x')),
      frame(frameType.continuation, 4, stream, headerBlock([['x', '1']])),
      frame(frameType.headers, 5, stream, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f])),
      frame(frameType.windowUpdate, 0, 0, number32(0)),
      frame(frameType.windowUpdate, 0, 0, number32(2 ** 31 - 1)),
      frame(frameType.settings, 0, 0, Buffer.from([0, 4, 0xff, 0xff, 0xff, 0xff])),
      frame(frameType.settings, 0, 0, Buffer.from([0])),
      frame(frameType.ping, 0, 0, Buffer.from('short')),
      frame(frameType.reset, 0, 99_999, number32(8)),
      frame(frameType.headers, 5, 2, headerBlock([[':status', '200']])),
    ]),
  ),
  'goodbye for a reason': ({ chance }) => ({
    act: (on) => {
      on.breaks()
      const last = chance.of([0, on.stream, 2 ** 31 - 1])
      on.disowns(last)
      on.peer.goaway(last, chance.of([...codes, errorCode.none]))
      on.peer.socket.destroySoon()
    },
    ...never,
  }),
  'broken off': ({ chance, head, length, body, ...parts }) => ({
    act: async (on) => {
      on.breaks()
      if (chance.once(2)) {
        on.peer.headers(on.stream, head(200, [length]), false)
        await on.peer.body(on.stream, body.subarray(0, body.length / 2), false, on.stopped)
      }
      on.peer.socket.destroy()
    },
    ...unlessHead(parts),
    early: chance.once(2),
  }),
}

type Planned = Pick<PlannedStream, 'act' | 'answer' | 'refuses'>

function make(from: Record<string, Kind>, may: PlannedAnswer['may'], most: number | undefined) {
  return (chance: Chance, id: string, method: string): Planned => {
    const kind = chance.of(Object.keys(from))
    const { parts, clear } = makeParts(chance, id, method, most)
    const body = Buffer.from(parts.body, 'latin1')
    const { act, refuses, ...made } = from[kind]!({
      chance,
      bodiless: parts.bodiless,
      head: (status, fields = []) => [[':status', String(status)], ['x-id', id], ...fields],
      length: ['content-length', String(parts.size)],
      body,
      size: parts.size,
    })
    const answer: PlannedAnswer = {
      kind,
      steps: [],
      status: 200,
      body: clear,
      early: false,
      may,
      leaves: 'good',
      ...made,
    }
    return { act, answer, ...(refuses === undefined ? {} : { refuses }) }
  }
}

export const makeAct = make(kinds, ['whole'], undefined)
/** Where nothing else is said no client gets more than a beginning of it. */
export const makeLyingAct = make(lies, never.may, 3_000)
