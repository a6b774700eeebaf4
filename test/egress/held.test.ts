import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Inbound } from '../../src/egress/inbound/inbound.ts'
import { createBodyHold } from '../../src/egress/traffic/held.ts'

/** A request whose body is written by hand; all of it that a hold looks at. */
function upload() {
  const body = new PassThrough()
  const closing = new EventEmitter()
  const inbound = {
    content: { body, length: undefined },
    proceed: () => undefined,
    answer: { gone: () => false, onClosed: (listener: () => void) => closing.once('closed', listener) },
  } as unknown as Inbound
  return { body, inbound, leave: () => closing.emit('closed') }
}

const ended = (bytes: number): Inbound => {
  const { body, inbound } = upload()
  body.end(Buffer.alloc(bytes))
  return inbound
}

test('bodies of one person take a quarter of the room at most, and those of others still find theirs', async () => {
  const hold = createBodyHold({ totalBytes: 400 })
  const first = await hold.hold(ended(60), 1_000, 'alice')
  if (typeof first === 'string') throw new Error(first)
  expect(await hold.hold(ended(41), 1_000, 'alice')).toBe('too_many_requests')
  expect(await hold.hold(ended(41), 1_000, 'bob')).toHaveProperty('bytes')
  // What was refused has left nothing behind.
  expect(await hold.hold(ended(40), 1_000, 'alice')).toHaveProperty('bytes')
  expect(await hold.hold(ended(1), 1_000, 'alice')).toBe('too_many_requests')
  first.release()
  expect(await hold.hold(ended(60), 1_000, 'alice')).toHaveProperty('bytes')
})

test('bodies of everybody take all of the room at most', async () => {
  const hold = createBodyHold({ totalBytes: 400 })
  for (const who of ['a', 'b', 'c', 'd'])
    expect(await hold.hold(ended(who === 'd' ? 99 : 100), 1_000, who)).toHaveProperty('bytes')
  expect(await hold.hold(ended(2), 1_000, 'e')).toBe('proxy_overloaded')
  expect(await hold.hold(ended(1), 1_000, 'e')).toHaveProperty('bytes')
})

test('a body that is too large, or whose rest never comes, gives its room back', async () => {
  const hold = createBodyHold({ totalBytes: 400 })
  expect(await hold.hold(ended(51), 50, 'alice')).toBe('body_too_large')
  const left = upload()
  const waiting = hold.hold(left.inbound, 1_000, 'alice')
  left.body.write(Buffer.alloc(90))
  await expect.poll(() => left.body.readableLength).toBe(0)
  expect(await hold.hold(ended(11), 1_000, 'alice')).toBe('too_many_requests')
  left.leave()
  expect(await waiting).toBe('client_closed')
  expect(await hold.hold(ended(100), 1_000, 'alice')).toHaveProperty('bytes')
})

test.each(['its client has gone', 'it has become too large'])(
  'what arrives of a body after %s takes no room for good',
  async (what) => {
    const hold = createBodyHold({ totalBytes: 4_000 })
    const first = upload()
    const holding = hold.hold(first.inbound, 600, 'alice')
    first.body.write(Buffer.alloc(400))
    await turn()
    if (what === 'its client has gone') first.leave()
    else first.body.write(Buffer.alloc(400))
    expect(await holding).toBe(what === 'its client has gone' ? 'client_closed' : 'body_too_large')
    // By HTTP/2 the news comes before the stream is destroyed; and what refuses reads on, to be heard.
    first.body.resume()
    for (let i = 0; i < 5; i++) {
      first.body.write(Buffer.alloc(150))
      await turn()
    }
    expect(await hold.hold(ended(1_000), 1_000, 'alice')).toHaveProperty('bytes.length', 1_000)
  },
)
