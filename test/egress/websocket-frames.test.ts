import type { Writable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as ws from 'ws'
import {
  type Frame,
  FrameError,
  FrameReader,
  frameHead,
  unmasked,
} from '../../src/egress/request/websocket-frames.ts'
import { compileSecrets, Scrubber } from '../../src/egress/secrets/scrub.ts'
import { MessageScrubber } from '../../src/egress/secrets/scrub-messages.ts'

// The parts of the package that its types leave out.
const { Receiver, Sender } = ws as unknown as {
  Receiver: new (options: object) => Writable
  Sender: { frame(data: Buffer, options: object): Buffer[] }
}

interface Sent {
  data: Buffer
  opcode: number
  fin: boolean
}

/** The same frames as the `ws` package writes them. */
function written(frames: readonly Sent[], mask: boolean): Buffer {
  return Buffer.concat(
    frames.flatMap(({ data, opcode, fin }) =>
      // It masks in place what it may.
      Sender.frame(Buffer.from(data), { opcode, fin, rsv1: false, mask, readOnly: true }),
    ),
  )
}

function* pieces(bytes: Buffer, cuts: readonly number[]): Generator<Buffer> {
  const points = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b)
  let from = 0
  for (const to of [...points, bytes.length]) {
    yield bytes.subarray(from, to)
    from = to
  }
}

const data = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.constantFrom(125, 126, 127, 65_535, 65_536, 70_000).map((length) => new Uint8Array(length)),
)
const ping = data.map((bytes) => ({ data: Buffer.from(bytes).subarray(0, 125), opcode: 9, fin: true }))
const message = fc
  .tuple(fc.array(data, { minLength: 1, maxLength: 4 }), fc.option(ping))
  .map(([parts, between]) => {
    const frames: Sent[] = parts.map((part, i) => ({
      data: Buffer.from(part),
      opcode: i === 0 ? 2 : 0,
      fin: i === parts.length - 1,
    }))
    return between === null ? frames : [...frames.slice(0, 1), between, ...frames.slice(1)]
  })
const messages = fc.array(message, { maxLength: 4 }).map((each) => each.flat())
const cuts = fc.array(fc.nat(150_000), { maxLength: 12 })

test('frames are read alike however they are cut, and as another implementation wrote them', () => {
  fc.assert(
    fc.property(messages, fc.boolean(), cuts, (frames, mask, at) => {
      const read: { frame: Frame; payload: Buffer[] }[] = []
      const ends: Frame[] = []
      const reader = new FrameReader(mask ? 'client' : 'server', {
        head: (frame) => void read.push({ frame, payload: [] }),
        payload: (frame, bytes, from) =>
          void read
            .at(-1)
            ?.payload.push(frame.mask === undefined ? bytes : unmasked(bytes, frame.mask, from)),
        end: (frame) => void ends.push(frame),
      })
      for (const piece of pieces(written(frames, mask), at)) reader.push(piece)
      expect(read.map(({ payload }) => Buffer.concat(payload).toString('hex'))).toEqual(
        frames.map(({ data: sent }) => sent.toString('hex')),
      )
      expect(read.map(({ frame }) => [frame.control, frame.fin])).toEqual(
        frames.map(({ opcode, fin }) => [opcode >= 8, fin]),
      )
      expect(ends).toEqual(read.map(({ frame }) => frame))
      expect(reader.frames).toBe(frames.length)
    }),
    { numRuns: 200 },
  )
})

test('the head of a frame is written as another implementation writes it', () => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536, 100_000])
    for (const fin of [true, false]) {
      const theirs = written([{ data: Buffer.alloc(length), opcode: 2, fin }], false)
      expect(frameHead(2, fin, length)).toEqual(theirs.subarray(0, theirs.length - length))
    }
})

const text = Buffer.from([0x81, 0])
const long = (length: number) => Buffer.concat([Buffer.from([0x89, 126, 0, length]), Buffer.alloc(length)])

test.each<[string, ...Buffer[]]>([
  ['a control frame longer than 125 bytes', long(126)],
  ['a control frame in pieces', Buffer.from([0x09, 0])],
  ['sixteen bits for a length that seven have room for', Buffer.from([0x82, 126, 0, 125]), Buffer.alloc(125)],
  [
    'sixty-four bits for a length that sixteen have room for',
    Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
  ],
  ['a length that is not counted exactly', Buffer.from([0x82, 127, 0, 0x20, 0, 0, 0, 0, 0, 0])],
  ['a bit of an extension', Buffer.from([0xc1, 0])],
  ['a kind that nobody knows', Buffer.from([0x83, 0])],
  ['a mask of a server’s', Buffer.from([0x81, 0x80, 0, 0, 0, 0])],
  ['a message within a message', Buffer.from([0x01, 0]), text],
  ['the end of no message', Buffer.from([0x80, 0])],
  ['a message behind the close', Buffer.from([0x88, 0]), text],
])('row 18: %s is no frame', (_, ...bytes) => {
  const nothing = () => undefined
  const reader = new FrameReader('server', { head: nothing, payload: nothing, end: nothing })
  reader.push(text)
  expect(() => reader.push(Buffer.concat(bytes))).toThrow(FrameError)
})

/** What the receiver of the `ws` package makes of bytes: messages and pings, and whether it refused them. */
function asWsReads(
  bytes: Buffer,
  isServer: boolean,
): { messages: Buffer[]; pings: Buffer[]; failed: boolean } {
  const receiver = new Receiver({ isServer, allowSynchronousEvents: true, skipUTF8Validation: true })
  const seen: Buffer[] = []
  const pings: Buffer[] = []
  let failed = false
  receiver.on('message', (got: Buffer) => void seen.push(Buffer.from(got)))
  receiver.on('ping', (got: Buffer) => void pings.push(Buffer.from(got)))
  receiver.on('error', () => {
    failed = true
  })
  receiver.write(bytes)
  return { messages: seen, pings, failed }
}

test('row 18: what is let through as frames another implementation reads as the same messages', () => {
  let accepted = 0
  fc.assert(
    fc.property(
      messages,
      fc.boolean(),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 3 }),
      (frames, mask, changes) => {
        const bytes = written(frames, mask)
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value
        const whole: Buffer[] = []
        let parts: Buffer[] = []
        const reader = new FrameReader(mask ? 'client' : 'server', {
          head: () => undefined,
          payload: (frame, piece, from) => {
            if (!frame.control) parts.push(frame.mask ? unmasked(piece, frame.mask, from) : piece)
          },
          end: (frame) => {
            if (frame.control || !frame.fin) return
            whole.push(Buffer.concat(parts))
            parts = []
          },
        })
        let refusal: unknown
        try {
          reader.push(bytes)
        } catch (err) {
          refusal = err
        }
        expect(refusal === undefined || refusal instanceof FrameError).toBe(true)
        if (refusal !== undefined) return
        accepted += 1
        const theirs = asWsReads(bytes, mask)
        // It also looks into close frames, which end everything in any case.
        expect(theirs.failed && !reader.closed).toBe(false)
        expect(theirs.messages.map(String)).toEqual(whole.map(String))
      },
    ),
    { numRuns: 300 },
  )
  expect(accepted).toBeGreaterThan(50)
})

const secret = 'S3cr3t+Value/for="orders"-0123456789'
const forms = compileSecrets([secret])

/** What is let through of pieces, in the order and the pieces in which it leaves; behind some of them is a pause. */
function passed(bytes: Iterable<Buffer>, pauses: readonly boolean[] = []): Buffer[] {
  const out: Buffer[] = []
  const scrubber = new MessageScrubber(forms, (piece) => void out.push(piece))
  const reader = new FrameReader('server', scrubber)
  for (const [i, piece] of [...bytes].entries()) {
    reader.push(piece)
    scrubber.mark()
    if (pauses[i % pauses.length] === true) scrubber.letMarkedGo()
  }
  return out
}

test('row 7: no cutting of a message into frames, or of frames into pieces, and no pause lets a credential through', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('{"a":', secret, JSON.stringify(secret), 'S3cr3t+Val', 'x', secret.slice(7)), {
        maxLength: 6,
      }),
      fc.nat(40_000),
      fc.array(fc.nat(200), { maxLength: 5 }),
      cuts,
      fc.boolean(),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
      (texts, before, frameCuts, at, pinged, pauses) => {
        const text = Buffer.from(`${'~'.repeat(before)}${texts.join('')}`)
        const parts = [
          ...pieces(
            text,
            frameCuts.map((cut) => before + cut),
          ),
        ]
        const frames: Sent[] = parts.flatMap((part, i) => {
          const frame = { data: part, opcode: i === 0 ? 1 : 0, fin: i === parts.length - 1 }
          return pinged ? [frame, { data: Buffer.from(secret), opcode: 9, fin: true }] : [frame]
        })
        const out = passed(pieces(written(frames, false), at), pauses)
        let ends = 0
        const nothing = () => undefined
        const reader = new FrameReader('server', { head: nothing, payload: nothing, end: () => (ends += 1) })
        for (const [i, frame] of out.entries()) {
          reader.push(frame)
          expect(ends).toBe(i + 1)
        }
        const read = asWsReads(Buffer.concat(out), false)
        expect(read.failed).toBe(false)
        expect(read.pings.map(String)).toEqual(pinged ? parts.map(() => '*'.repeat(secret.length)) : [])
        const [got = Buffer.alloc(0)] = read.messages
        const masked = Buffer.from(new Scrubber(forms).text(text.toString()))
        expect(got.length).toBe(masked.length)
        const shown = [...got.keys()].filter((i) => got[i] !== masked[i])
        // Seven letters, and a sign.
        const tellsNothing = pauses.includes(true) ? secret.slice(0, 8) : ''
        const begins = shown.filter((i) => !shown.includes(i - 1))
        for (const begin of begins) {
          const length = shown.filter((i) => i >= begin && i < begin + 9).length
          expect(got.toString('latin1', begin, begin + length)).toBe(tellsNothing.slice(0, length))
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('a short message comes in one frame, however it was sent', () => {
  for (const text of ['', 'short', '{"a":1}\n'])
    for (const parts of [[text], [text.slice(0, 3), text.slice(3)], ['', '', text]]) {
      const frames = parts.map((part, i) => ({
        data: Buffer.from(part),
        opcode: i === 0 ? 1 : 0,
        fin: i === parts.length - 1,
      }))
      const [out, ...more] = passed([written(frames, false)])
      expect([out, more]).toEqual([written([{ data: Buffer.from(text), opcode: 1, fin: true }], false), []])
    }
})

/** The first of the secret; with `right` false, only the letters that are told of together are right, eight by eight. */
function guessed(length: number, right: boolean): string {
  const beginning = secret.slice(0, length)
  const letters = beginning.replace(/[^A-Za-z0-9]/g, '').length
  let at = 0
  return beginning.replace(/[A-Za-z0-9]/g, (letter) => {
    at += 1
    return right || at <= letters - (letters % 8) ? letter : 'Q'
  })
}

test('row 7: what is let through of a message is cut alike whether it begins a credential or not, pings and pauses or none', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          pad: fc.integer({ min: 1, max: 20_000 }),
          guess: fc.nat(secret.length - 1),
          pinged: fc.boolean(),
          pauses: fc.boolean(),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      (fragments) => {
        const sizes = (right: boolean) => {
          const sent = fragments.map(({ pad, guess, pinged }, i) => {
            const data = Buffer.from(`${'~'.repeat(pad)}${guessed(guess, right)}`)
            const frame = { data, opcode: i === 0 ? 1 : 0, fin: i === fragments.length - 1 }
            return written(
              pinged ? [frame, { data: Buffer.from('?'), opcode: 9, fin: true }] : [frame],
              false,
            )
          })
          const out = passed(
            sent,
            fragments.map(({ pauses }) => pauses),
          )
          return out.map((frame) => frame.length)
        }
        expect(sizes(true)).toEqual(sizes(false))
      },
    ),
    { numRuns: 500 },
  )
})
