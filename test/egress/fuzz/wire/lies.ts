import type { Chance } from '../fuzz.ts'
import { chunkedField, makeParts, type Parts } from './answers.ts'
import { breakOff, end, type PlannedAnswer, type Step } from './plan.ts'

type Kind = (parts: Parts) => Partial<PlannedAnswer> & { steps: Step[] }

const lie = (text: string): string =>
  `HTTP/1.1 200 OK\r\nx-id: ${text}\r\ncontent-length: ${text.length}\r\n\r\n${text}`
/** What no client may see: it comes in one piece with the answer before it. */
export const unasked = 'UNASKED'
/** What may be taken for the next answer: it comes when that may have been asked for. */
export const tooLate = 'TOOLATE'

const any = { may: ['whole', 'failed', 'cut'] as const }
const whole = { may: ['whole'] as const }
/** No two readers agree on the body. */
const unread = { ...any, body: undefined }
/** Whoever takes late bytes for an answer without a length waits for the end. */
const laterOn: Step[] = [20, end]
const doubtful = { ...any, leaves: 'doubtful' as const }
const hasNone = { ...any, body: '' }
/** What HEAD gets of it has nothing wrong. */
const unlessHead = ({ bodiless }: Parts) => (bodiless ? any : {})
const brokenOff = ({ chance, ok, length }: Parts) =>
  chance.of(['', 'HTTP', ok, `${ok}${length}\r\n`, `${ok}${chunkedField}\r\n5\r\nhel`])

/** All that an upstream may do wrong; where nothing else is said no client gets more than a beginning of it. */
const kinds: Record<string, Kind> = {
  'ends unsaid': ({ chance, ok, length, body }) => ({
    steps: [`${ok}${length}\r\n${body}`, chance.of([0, 1, 5]), end],
    ...whole,
    leaves: 'doubtful',
  }),
  'one more': ({ ok, length, body }) => ({ steps: [`${ok}${length}\r\n${body}${lie(unasked)}`], ...any }),
  'the beginning of one more': ({ ok, length, body }) => ({
    steps: [`${ok}${length}\r\n${body}HTTP/1.1 2`],
    ...any,
  }),
  'one more behind chunks': ({ ok, chunked }) => ({
    steps: [`${ok}${chunkedField}\r\n${chunked()}${lie(unasked)}`],
    ...any,
  }),
  'one more, later': ({ chance, ok, length, body }) => ({
    steps: [`${ok}${length}\r\n${body}`, chance.of([0, 1, 2, 5, 20, 100]), lie(tooLate), ...laterOn],
    ...doubtful,
  }),
  'empty lines behind': ({ ok, length, body }) => ({
    steps: [`${ok}${length}\r\n${body}\r\n\r\n`],
    ...any,
    leaves: 'good',
  }),
  'a part of one more': ({ chance, ok, length, body }) => ({
    steps: [`${ok}${length}\r\n${body}`, chance.of([1, 20, 50]), 'HTTP/1.1 2', ...laterOn],
    ...doubtful,
  }),
  '204 with a body': ({ id, length }) => ({
    steps: [`HTTP/1.1 204 No\r\n${id}${length}\r\n${lie(unasked)}`],
    status: 204,
    ...hasNone,
  }),
  '304 with a body': ({ id, length }) => ({
    steps: [`HTTP/1.1 304 No\r\n${id}${length}\r\n${lie(unasked)}`],
    status: 304,
    ...hasNone,
  }),
  '204 with chunks': ({ id }) => ({
    steps: [`HTTP/1.1 204 No\r\n${id}${chunkedField}\r\n5\r\nhello\r\n0\r\n\r\n`],
    status: 204,
    ...hasNone,
  }),
  'a body where there is none': ({ bodiless, ok, length }) => ({
    steps: [`${ok}${bodiless ? length : 'content-length: 0\r\n'}\r\n${lie(unasked)}`],
    ...hasNone,
  }),
  'too short': (parts) => ({
    steps: [`${parts.ok}content-length: ${parts.size + 10}\r\n\r\n${parts.body}`, end],
    ...(parts.bodiless ? whole : {}),
    leaves: parts.bodiless ? 'doubtful' : 'spent',
  }),
  'two lengths': ({ ok, length, body }) => ({ steps: [`${ok}${length}${length}\r\n${body}`] }),
  'two lengths that differ': ({ ok, length, body }) => ({
    steps: [`${ok}${length}content-length: 3\r\n\r\n${body}`],
  }),
  'a list of lengths': ({ ok, size, body }) => ({
    steps: [`${ok}content-length: ${size}, ${size}\r\n\r\n${body}`],
  }),
  'a length and chunks': ({ ok, length, chunked }) => ({
    steps: [`${ok}${length}${chunkedField}\r\n${chunked()}`],
  }),
  'chunks and a length': ({ ok, length, chunked }) => ({
    steps: [`${ok}${chunkedField}${length}\r\n${chunked()}`],
  }),
  'no length': ({ chance, ok, size, body }) => ({
    steps: [`${ok}content-length: ${chance.of([`+${size}`, '-1', '9'.repeat(23)])}\r\n\r\n${body}`],
  }),
  'no chunk': (parts) => ({
    steps: [`${parts.ok}${chunkedField}\r\nzz\r\nhello\r\n0\r\n\r\n`],
    ...unlessHead(parts),
  }),
  'a chunk that does not end': (parts) => ({
    steps: [`${parts.ok}${chunkedField}\r\n5\r\nhelloXX0\r\n\r\n`],
    ...unlessHead(parts),
  }),
  'chunks with bare line feeds': (parts) => ({
    steps: [`${parts.ok}${chunkedField}\r\n5\nhello\n0\n\n`],
    ...unlessHead(parts),
  }),
  'a chunk beyond measure': (parts) => ({
    steps: [`${parts.ok}${chunkedField}\r\nfffffffffffffffff\r\nhello`],
    ...unlessHead(parts),
  }),
  'another coding': ({ ok, chunked }) => ({
    steps: [`${ok}transfer-encoding: gzip, chunked\r\n\r\n${chunked()}`],
    ...unread,
    leaves: 'spent',
  }),
  'an unknown coding': ({ ok, body }) => ({
    steps: [`${ok}transfer-encoding: xchunked\r\n\r\n${body}`, end],
    ...unread,
    leaves: 'good',
  }),
  'chunked twice': ({ ok, chunked }) => ({
    steps: [`${ok}${chunkedField}${chunkedField}\r\n${chunked()}`],
    ...unread,
    leaves: 'spent',
  }),
  'a folded field': ({ ok, length, body }) => ({
    steps: [`${ok}x-a: 1\r\n 2\r\n${length}\r\n${body}`],
    ...any,
    leaves: 'good',
  }),
  'bare line feeds': ({ ok, length, body }) => ({
    steps: [`${ok}${length}\r\n`.replaceAll('\r\n', '\n') + body],
  }),
  'a field with what it must not have': ({ chance, ok, length, body }) => ({
    steps: [`${ok}x-a: a${chance.of(['\0', '\r', '\n'])}b\r\n${length}\r\n${body}`],
  }),
  'a space before the colon': ({ ok, body }) => ({ steps: [`${ok}content-length : 3\r\n\r\n${body}`] }),
  'bytes beyond ASCII': ({ ok, length, body }) => ({
    steps: [`${ok}x-a: \xff\xfe\x80\r\n${length}\r\n${body}`],
    ...any,
    leaves: 'good',
  }),
  'a head that is too long': ({ chance, ok, length, body }) => ({
    steps: [
      `${ok}${chance.once(2) ? `x-a: ${'a'.repeat(40_000)}\r\n` : 'x-a: 1\r\n'.repeat(10_000)}${length}\r\n${body}`,
    ],
  }),
  'HTTP/1.0': ({ id, length, body }) => ({
    steps: [`HTTP/1.0 200 OK\r\n${id}${length}\r\n${body}${lie(unasked)}`],
    ...any,
  }),
  'HTTP/1.0 in chunks': ({ id, chunked }) => ({
    steps: [`HTTP/1.0 200 OK\r\n${id}connection: keep-alive\r\n${chunkedField}\r\n${chunked()}`],
    ...unread,
  }),
  'HTTP/1.0 until its end': ({ id, body }) => ({
    steps: [`HTTP/1.0 200 OK\r\n${id}\r\n${body}`, end],
    ...whole,
  }),
  'HTTP/2.0': ({ id, length, body }) => ({
    steps: [`HTTP/2.0 200 OK\r\n${id}${length}\r\n${body}`],
    ...any,
    leaves: 'good',
  }),
  'HTTP/0.9': ({ body }) => ({ steps: [body === '' ? 'x' : body, end] }),
  'another protocol': ({ id }) => ({
    steps: [`HTTP/1.1 101 Switching\r\n${id}upgrade: x\r\nconnection: upgrade\r\n\r\n${lie(unasked)}`],
    may: ['failed'],
  }),
  'a flood of interim answers': ({ chance, ok, length, body }) => ({
    steps: [
      `${'HTTP/1.1 103 Early\r\nlink: a\r\n\r\n'.repeat(17 + chance.below(100))}${ok}${length}\r\n${body}`,
    ],
  }),
  'an interim answer with a body': ({ ok, length, body }) => ({
    steps: [`HTTP/1.1 103 Early\r\ncontent-length: 7\r\n\r\n${unasked}${ok}${length}\r\n${body}`],
  }),
  'a status that there is not': ({ chance, id, length, body }) => ({
    steps: [
      `HTTP/1.1 ${chance.of(['099', '000', '600', '999', '20', '2000', 'abc', '-20'])} X\r\n${id}${length}\r\n${body}`,
    ],
  }),
  'broken off': (parts) => ({
    steps: [brokenOff(parts), parts.chance.of([0, 1]), breakOff],
    ...unlessHead(parts),
    body: undefined,
    early: parts.chance.once(2),
    leaves: parts.bodiless ? 'doubtful' : 'spent',
  }),
  'ended too soon': (parts) => ({
    steps: [brokenOff(parts), end],
    ...unlessHead(parts),
    body: undefined,
    early: parts.chance.once(2),
    leaves: parts.bodiless ? 'doubtful' : 'spent',
  }),
  'a reset of what was entered': ({ id, length, body }) => ({
    steps: [`HTTP/1.1 205 Reset\r\n${id}${length}\r\n${body}`],
    status: 205,
    ...hasNone,
    leaves: 'good',
  }),
  'gzip that is cut': (parts) => ({
    steps: [parts.ok + parts.gzip(6)],
    ...(parts.bodiless ? whole : {}),
    leaves: 'good',
  }),
}

/** Small enough to come in one piece. */
const most = 3_000

export function makeLie(chance: Chance, id: string, method: string): PlannedAnswer {
  const kind = chance.of(Object.keys(kinds))
  const { parts, clear } = makeParts(chance, id, method, most)
  return {
    kind,
    status: 200,
    body: clear,
    early: false,
    may: ['failed', 'cut'],
    leaves: 'spent',
    ...kinds[kind]!(parts),
  }
}
