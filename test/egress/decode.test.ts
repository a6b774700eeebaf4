import { once } from 'node:events'
import { constants, createZstdCompress } from 'node:zlib'
import { expect, test } from 'vitest'
import { codingOf, createDecoder } from '../../src/egress/traffic/decode.ts'

const text = Buffer.from('an answer that would need no window at all. '.repeat(20))

/** With a window of two to this power of bytes, which a decoder must keep in memory; written as if its length were not known. */
async function withWindow(log: number): Promise<Buffer> {
  const coder = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: log } })
  coder.write(text.subarray(0, 10))
  coder.end(text.subarray(10))
  return Buffer.concat(await coder.toArray())
}

async function decoded(coded: Buffer): Promise<Buffer> {
  const decoder = createDecoder('zstd')
  const chunks: Buffer[] = []
  decoder.on('data', (chunk: Buffer) => chunks.push(chunk))
  decoder.end(coded)
  await once(decoder, 'end')
  return Buffer.concat(chunks)
}

test('row 40: zstd is decoded with a window of 8 MiB, and not with one of more', async () => {
  expect(await decoded(await withWindow(23))).toEqual(text)
  for (const log of [24, 25, 27])
    await expect(decoded(await withWindow(log))).rejects.toThrow(/memory|window/i)
})

test('codings upon codings, and those that nobody here can undo, are unknown', () => {
  const of = (...values: string[]) => codingOf(values.flatMap((value) => ['Content-Encoding', value]))
  expect([of(), of('identity'), of('gzip'), of('BR'), of('identity, zstd')]).toEqual([
    'none',
    'none',
    'gzip',
    'br',
    'zstd',
  ])
  expect([of('gzip, gzip'), of('gzip', 'br'), of('compress'), of('__proto__')]).toEqual(
    Array(4).fill('unknown'),
  )
})
