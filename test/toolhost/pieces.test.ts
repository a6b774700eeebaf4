import fc from 'fast-check'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { frameReader } from '../../src/runners/client/frames.ts'
import { createAdmission } from '../../src/toolhost/admission.ts'
import { lineCutter } from '../../src/toolhost/lines.ts'
import { guardMemory } from '../../src/toolhost/memory-guard.ts'
import { createRespawn } from '../../src/toolhost/respawn.ts'
import type { Source } from '../../src/toolhost/source.ts'
import { createTail } from '../../src/toolhost/tail.ts'
import type { CallFrame } from '../../src/wire/index.ts'

/** `bytes` in pieces that end at `cuts`. */
function pieces(bytes: Buffer, cuts: number[]): Buffer[] {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end))
}

test('lines come out whole however the stream is cut, in the middle of a character too', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme', minLength: 1 })),
      fc.array(fc.nat()),
      (texts, cuts) => {
        const lines = texts.map((text) => text.replaceAll('\n', ' '))
        const seen: string[] = []
        const cut = lineCutter({
          maxBytes: 1_000,
          line: (text) => seen.push(text),
          tooLong: () => seen.push('!'),
        })
        for (const piece of pieces(Buffer.from(lines.map((line) => `${line}\n`).join('')), cuts)) cut(piece)
        expect(seen).toEqual(lines)
      },
    ),
  )
})

test('frames come out whole however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme' })), fc.array(fc.nat()), (texts, cuts) => {
      const frames = texts.map((text): CallFrame => ({ type: 'result', result: { text } }))
      const seen: CallFrame[] = []
      const read = frameReader({
        maxBytes: 10_000,
        frame: (frame) => seen.push(frame),
        unreadable: () => undefined,
      })
      for (const piece of pieces(
        Buffer.from(frames.map((frame) => `${JSON.stringify(frame)}\n`).join('')),
        cuts,
      ))
        read(piece)
      expect(seen).toEqual(frames)
    }),
  )
})

test('a line over the limit is told once, and nothing after it is delivered', () => {
  const seen: string[] = []
  const cut = lineCutter({
    maxBytes: 5,
    line: (text) => seen.push(text),
    tooLong: () => seen.push('too long'),
  })
  for (const piece of ['ok\n12345\n123', '456\nok\n', 'ok\n']) cut(Buffer.from(piece))
  expect(seen).toEqual(['ok', '12345', 'too long'])
})

test('a tail keeps exactly the last bytes of whatever was fed', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary-ascii' })), (texts) => {
      const tail = createTail(16)
      for (const text of texts) tail.add(Buffer.from(text))
      expect(tail.text()).toBe(texts.join('').slice(-16))
    }),
  )
})

test('places are given in order of arrival, and one given up passes to the next', async () => {
  const admission = createAdmission({ parallel: 1, queued: 2 })
  const forever = new AbortController().signal
  const leave = await admission.enter(forever)
  const gone = new AbortController()
  const order: string[] = []
  const second = admission.enter(gone.signal).catch((error: unknown) => String(error))
  const third = admission.enter(forever).then((done) => (order.push('third'), done))
  await expect(admission.enter(forever)).rejects.toMatchObject({ code: 'runner_busy' })
  gone.abort(new Error('given up'))
  expect(await second).toBe('Error: given up')
  leave()
  leave() // giving back twice frees one place only
  ;(await third)()
  expect([order, admission.running, admission.queued]).toEqual([['third'], 0, 0])
})

test('a source that keeps failing waits longer each time, at most thirty seconds, until it was useful', () => {
  const respawn = createRespawn()
  const waits = Array.from({ length: 10 }, () => {
    respawn.ended(0, false)
    return respawn.waitMs(0)
  })
  expect(waits).toEqual([0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  respawn.ended(0, true)
  expect(respawn.waitMs(0)).toBe(0)
})

test('the memory guard ends the biggest source and names it, and leaves a sandbox within its limit alone', async () => {
  const mebibyte = 1024 * 1024
  const process1 = { parent: 1, group: 1, session: 1, started: 1 }
  let table = [
    { ...process1, pid: 100_001, resident: 300 * mebibyte },
    { ...process1, pid: 100_002, resident: 100 * mebibyte },
    { ...process1, pid: process.pid, resident: 900 * mebibyte },
  ]
  const ended: string[] = []
  // Lies: a source that only has processes and can be ended.
  const source = (id: string, pid: number) =>
    ({
      launch: { id },
      members: () => [pid],
      end: (cause: { message: string }) => {
        ended.push(cause.message)
        table = table.filter((one) => one.pid !== pid)
        return Promise.resolve()
      },
    }) as unknown as Source
  const sources = [source('small', 100_002), source('big', 100_001)]
  using _ = guardMemory({
    limitBytes: 350 * mebibyte,
    sources: () => sources,
    log: silentLog,
    table: () => table,
  })
  await expect
    .poll(() => ended, { timeout: 3_000 })
    .toEqual([
      'source "big" was ended: the sandbox used 400 MiB of its 350 MiB of memory, this source the most of it (300 MiB)',
    ])
})
