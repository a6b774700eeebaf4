import { gzipSync } from 'node:zlib'
import { theSecret } from '../../../support/egress-world.ts'
import type { Chance } from '../fuzz.ts'
import { end, type PlannedAnswer, restOfRequest, type Step } from './plan.ts'
import { inChunks, makeBody } from './text.ts'

/** What an answer is made of. Fields end with their line. */
export interface Parts {
  chance: Chance
  /** The answer is to HEAD, and has no body whatever its fields say. */
  bodiless: boolean
  /** The line of 200, and the field that names the request. */
  ok: string
  id: string
  length: string
  /** As written; empty where there is none. */
  body: string
  /** Length of the body, of which HEAD gets only this. */
  size: number
  chunked: (extensions?: boolean) => string
  gzip: (cutBy?: number) => string
}

export const chunkedField = 'transfer-encoding: chunked\r\n'

/** Parts, and the body as a client gets it: an echoed credential is masked. */
export function makeParts(
  chance: Chance,
  id: string,
  method: string,
  most?: number,
): { parts: Parts; clear: string } {
  const bodiless = method === 'HEAD'
  const echo = chance.once(4) ? `auth Bearer ${theSecret} ` : ''
  const whole = `${echo}[${id}]${chance.once(2) ? makeBody(chance, most) : ''}`
  const named = `x-id: ${id}\r\n`
  const parts: Parts = {
    chance,
    bodiless,
    ok: `HTTP/1.1 200 OK\r\n${named}`,
    id: named,
    length: `content-length: ${whole.length}\r\n`,
    body: bodiless ? '' : whole,
    size: whole.length,
    chunked: (extensions = false) => {
      if (bodiless) return ''
      return `${inChunks(chance, whole, extensions)}0\r\n${chance.once(2) ? 'x-t: 1\r\n' : ''}\r\n`
    },
    gzip: (cutBy = 0) => {
      const packed = gzipSync(whole).toString('latin1')
      const sent = packed.slice(0, packed.length - cutBy)
      return `content-encoding: gzip\r\ncontent-length: ${sent.length}\r\n\r\n${bodiless ? '' : sent}`
    },
  }
  return { parts, clear: bodiless ? '' : whole.replaceAll(theSecret, '*'.repeat(theSecret.length)) }
}

type Kind = (parts: Parts) => Partial<PlannedAnswer> & { steps: Step[] }

const early = { early: true }

/** All that an honest upstream may do. */
const kinds: Record<string, Kind> = {
  length: ({ chance, ok, length, body }) => ({ steps: inPieces(chance, `${ok}${length}\r\n${body}`) }),
  chunked: ({ chance, ok, chunked }) => ({
    steps: inPieces(chance, `${ok}${chunkedField}\r\n${chunked()}`),
  }),
  'chunked with extensions': ({ chance, ok, chunked }) => ({
    steps: inPieces(chance, `${ok}${chunkedField}\r\n${chunked(true)}`),
  }),
  'until its end': ({ chance, ok, body }) => ({
    steps: [...inPieces(chance, `${ok}\r\n${body}`), end],
    leaves: 'spent',
  }),
  'the last one': ({ chance, ok, length, body }) => ({
    steps: [...inPieces(chance, `${ok}connection: close\r\n${length}\r\n${body}`), chance.of([0, 1]), end],
    leaves: 'spent',
  }),
  204: ({ chance, id }) => ({
    steps: inPieces(chance, `HTTP/1.1 204 No Content\r\n${id}\r\n`),
    status: 204,
    body: '',
  }),
  304: ({ chance, id, length }) => ({
    steps: inPieces(chance, `HTTP/1.1 304 Not Modified\r\n${id}${length}\r\n`),
    status: 304,
    body: '',
  }),
  empty: ({ chance, ok }) => ({ steps: inPieces(chance, `${ok}content-length: 0\r\n\r\n`), body: '' }),
  interim: ({ chance, ok, length, body }) => ({
    steps: inPieces(
      chance,
      `${'HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n'.repeat(1 + chance.below(10))}${ok}${length}\r\n${body}`,
    ),
  }),
  continued: ({ chance, ok, length, body }) => ({
    steps: inPieces(chance, `HTTP/1.1 100 Continue\r\n\r\n${ok}${length}\r\n${body}`),
    early: chance.once(2),
  }),
  gzip: ({ chance, ok, gzip }) => ({ steps: inPieces(chance, ok + gzip()) }),
  early: ({ chance, ok, length, body }) => ({
    steps: inPieces(chance, `${ok}${length}\r\n${body}`),
    ...early,
  }),
  'early, the last one': ({ chance, ok, length, body }) => ({
    steps: [...inPieces(chance, `${ok}${length}connection: close\r\n\r\n${body}`), end],
    leaves: 'spent',
    ...early,
  }),
  'begun early': ({ ok, length, body }) => ({
    steps: [`${ok}${length}\r\n${body.slice(0, 4)}`, restOfRequest, body.slice(4)],
    ...early,
  }),
  slow: ({ chance, ok, length, body }) => ({
    steps: [
      chance.below(30),
      ok,
      chance.below(10),
      `${length}\r\n${body.slice(0, 3)}`,
      chance.below(10),
      body.slice(3),
    ],
  }),
  500: ({ chance, id, length, body }) => ({
    steps: inPieces(chance, `HTTP/1.1 500 Oh\r\n${id}${length}\r\n${body}`),
    status: 500,
  }),
}

export function makeAnswer(chance: Chance, id: string, method: string): PlannedAnswer {
  const kind = chance.of(Object.keys(kinds))
  const { parts, clear } = makeParts(chance, id, method)
  return {
    kind,
    status: 200,
    body: clear,
    early: false,
    may: ['whole'],
    leaves: 'good',
    ...kinds[kind]!(parts),
  }
}

function inPieces(chance: Chance, text: string): Step[] {
  if (!chance.once(3)) return [text]
  const steps: Step[] = []
  for (let at = 0; at < text.length; ) {
    const part = text.slice(at, at + 1 + chance.below(Math.floor(text.length / 2) + 10))
    steps.push(part)
    at += part.length
    if (chance.once(2)) steps.push(chance.of([0, 0, 1, 3]))
  }
  return steps
}
