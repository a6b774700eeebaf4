import type { Chance } from '../fuzz.ts'
import { host } from './plan.ts'

const pieces = [
  'abc',
  'xyz\r\n',
  '0\r\n\r\n',
  'data ',
  `GET /ok/SMUGGLED HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
  'HTTP/1.1 200 OK\r\nx-id: SMUGGLED\r\ncontent-length: 0\r\n\r\n',
]

/** A body that reads like messages wherever its framing is lost. */
export function makeBody(chance: Chance, most = 70_000): string {
  const length = Math.min(most, chance.of([1, 5, 40, 200, 3_000, 20_000, chance.below(70_000)]))
  let text = ''
  while (text.length < length) text += chance.of(pieces)
  return text.slice(0, length)
}

/** `body` as chunks, without the last one, which is empty. */
export function inChunks(chance: Chance, body: string, extensions: boolean): string {
  let text = ''
  for (let at = 0; at < body.length; ) {
    const part = body.slice(at, at + 1 + chance.below(chance.of([10, 1_000, 30_000])))
    const extension = extensions && chance.once(3) ? chance.of([';a=b', ';q="x;y"', ';z']) : ''
    text += `${part.length.toString(16)}${extension}\r\n${part}\r\n`
    at += part.length
  }
  return text
}
