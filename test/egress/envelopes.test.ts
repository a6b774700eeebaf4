import { expect, test } from 'vitest'
import { Envelopes, isEnveloped } from '../../src/egress/secrets/envelopes.ts'

/** As gRPC writes it (flags, length, message). */
function message(text: string): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(text.length, 1)
  return Buffer.concat([head, Buffer.from(text)])
}

test('messages are found in whatever pieces they come', () => {
  const messages = ['first', '', '', 'the last'].map(message)
  const whole = Buffer.concat([...messages, message('cut off').subarray(0, 9)])
  for (let size = 1; size <= whole.length; size += 1) {
    const envelopes = new Envelopes()
    const got = [Buffer.alloc(0)]
    for (let at = 0; at < whole.length; at += size)
      for (const { part, ends } of envelopes.split(whole.subarray(at, at + size))) {
        got.push(Buffer.concat([got.pop() ?? Buffer.alloc(0), part]))
        if (ends) got.push(Buffer.alloc(0))
      }
    expect(got.map(String)).toEqual([...messages, whole.subarray(-9)].map(String))
  }
})

test.each([
  ['application/grpc', true],
  ['application/grpc+proto', true],
  ['Application/gRPC-Web+proto; charset=x', true],
  ['application/connect+json', true],
  ['application/grpc-web-text', false],
  ['application/json', false],
])('%s: %s', (type, enveloped) => {
  expect(isEnveloped(['Content-Type', type])).toBe(enveloped)
})
