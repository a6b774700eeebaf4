import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { takeTogether } from '../../src/egress/bounds/crumbs.ts'

/** A stream that is pushed to from outside, and the pieces that it tells. */
function stream() {
  let asked = 0
  const from = new Readable({
    read() {
      asked += 1
    },
  })
  from.on('error', () => undefined)
  takeTogether(from)
  const told: string[] = []
  return {
    from,
    told,
    asked: () => asked,
    read: () => from.on('data', (piece: Buffer) => told.push(piece.toString())),
    push: (text: string) => from.push(Buffer.from(text)),
  }
}

test('what comes in one turn is told as two pieces, the first of it at once', async () => {
  const { told, read, push } = stream()
  read()
  await turn()
  for (const crumb of 'abcd') push(crumb)
  expect(told).toEqual(['a'])
  await turn()
  expect(told).toEqual(['a', 'bcd'])
  push('e')
  expect(told).toEqual(['a', 'bcd', 'e'])
})

test('no more is asked for in a turn that brought crumbs, and some is in the next', async () => {
  const { asked, read, push } = stream()
  read()
  await turn()
  expect(push('a')).toBe(true)
  expect(push('b')).toBe(false)
  const before = asked()
  await turn()
  await turn()
  expect(asked()).toBeGreaterThan(before)
})

test('large pieces go on as they are, and never before what came ahead of them', async () => {
  const { told, read, push } = stream()
  read()
  await turn()
  const large = 'x'.repeat(2_000)
  for (const piece of [large, large, 'a', 'b', large]) push(piece)
  expect(told).toEqual([large, large, 'a'])
  await turn()
  expect(told.join('')).toBe(`${large}${large}ab${large}`)
})

test('an end and an error come behind all that came before them', async () => {
  const ended = stream()
  ended.read()
  ended.from.on('end', () => ended.told.push('end'))
  await turn()
  for (const crumb of 'abc') ended.push(crumb)
  ended.from.push(null)
  await turn()
  expect(ended.told).toEqual(['a', 'bc', 'end'])
  const broken = stream()
  broken.read()
  broken.from.on('error', () => broken.told.push('error'))
  await turn()
  for (const crumb of 'abc') broken.push(crumb)
  broken.from.destroy(new Error('broken'))
  await turn()
  expect(broken.told).toEqual(['a', 'bc', 'error'])
})

test('what is not read is kept as few pieces, whatever it came as, and comes in its order', async () => {
  const { from, told, read, push } = stream()
  read()
  from.pause()
  let all = ''
  for (let n = 0; n < 40_000; n += 1) {
    const crumb = String.fromCharCode(97 + (n % 26))
    all += crumb
    push(crumb)
    if (n % 100 === 0) await turn()
  }
  from.resume()
  await turn()
  push('end')
  await turn()
  expect(told.join('')).toBe(`${all}end`)
  expect(told.length).toBeLessThan(10)
})

test('reading that stops for a moment only keeps the order', async () => {
  const { from, told, read, push } = stream()
  read()
  await turn()
  push('a')
  push('b')
  from.pause()
  push('c')
  await turn()
  push('d')
  from.resume()
  push('e')
  await turn()
  await turn()
  expect(told.join('')).toBe('abcde')
})
