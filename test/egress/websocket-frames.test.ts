import type { Writable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as ws from 'ws'
import { type Frame, FrameError, FrameReader, unmasked } from '../../src/egress/request/websocket-frames.ts'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
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
  ['a frame behind the close', Buffer.from([0x88, 0]), text],
])('row 18: %s is no frame', (_, ...bytes) => {
  const nothing = () => undefined
  const reader = new FrameReader('server', { head: nothing, payload: nothing, end: nothing })
  reader.push(text)
  expect(() => reader.push(Buffer.concat(bytes))).toThrow(FrameError)
})

/** What the receiver of the `ws` package makes of bytes: how many messages, and whether it refused them. */
function asWsReads(bytes: Buffer, isServer: boolean): { messages: Buffer[]; failed: boolean } {
  const receiver = new Receiver({ isServer, allowSynchronousEvents: true, skipUTF8Validation: true })
  const seen: Buffer[] = []
  let failed = false
  receiver.on('message', (got: Buffer) => void seen.push(Buffer.from(got)))
  receiver.on('error', () => {
    failed = true
  })
  receiver.write(bytes)
  return { messages: seen, failed }
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

test('row 7: no cutting of a message into frames, or of frames into pieces, lets a credential through', () => {
  const secret = 'S3cr3t+Value/for="orders"-0123456789'
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('{"a":', secret, JSON.stringify(secret), 'S3cr3t+Val', 'x', secret.slice(7)), {
        maxLength: 6,
      }),
      fc.array(fc.nat(200), { maxLength: 5 }),
      cuts,
      fc.boolean(),
      (texts, frameCuts, at, pinged) => {
        const text = Buffer.from(texts.join(''))
        const parts = [...pieces(text, frameCuts)]
        const frames: Sent[] = parts.flatMap((part, i) => {
          const frame = { data: part, opcode: i === 0 ? 1 : 0, fin: i === parts.length - 1 }
          return pinged ? [frame, { data: Buffer.from(secret), opcode: 9, fin: true }] : [frame]
        })
        const bytes = written(frames, false)
        const out: Buffer[] = []
        const scrubber = new MessageScrubber(
          compileSecrets([secret]),
          (piece) => void out.push(Buffer.from(piece)),
        )
        const reader = new FrameReader('server', scrubber)
        for (const piece of pieces(bytes, at)) reader.push(piece)
        const masked = Buffer.concat(out)
        // Everything has left, and every frame has kept its place.
        expect(masked.length).toBe(bytes.length)
        expect(masked.includes(secret)).toBe(false)
        const [read] = asWsReads(masked, false).messages
        expect(read?.length).toBe(text.length)
        expect(read?.includes(secret)).toBe(false)
        expect(read?.includes(JSON.stringify(secret).slice(1, -1))).toBe(false)
      },
    ),
    { numRuns: 500 },
  )
})
