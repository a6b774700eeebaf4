import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Pausable } from '../../src/egress/bounds/search-share.ts'
import { frameHead, opcodes } from '../../src/egress/request/websocket-frames.ts'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { passWebSocket } from '../../src/egress/traffic/websocket.ts'

const secret = 'S3cr3t+Value/for="orders"-0123456789'

/** What a pause is, by a clock that the test sets. */
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

/** A searched WebSocket from a server to a client that takes what comes only as it is told. */
async function startUnread() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upstream = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = (await once(server, 'connection')) as [Socket]
  server.close()
  far.on('error', () => undefined)
  let got = ''
  let taken: (() => void) | undefined = () => undefined
  const client = new Duplex({
    highWaterMark: 1_000,
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      got += chunk.toString('latin1')
      if (taken === undefined) done()
      else taken = done
    },
  })
  const passed = { bytes: 0, redactions: 0 }
  let source: Pausable = { pause: () => undefined, resume: () => undefined }
  let sent = 0
  passWebSocket({
    client,
    upstream,
    early: Buffer.alloc(0),
    forms: compileSecrets([secret]),
    turns: (searched) => {
      source = searched
      return (step) => step()
    },
    sending: () => undefined,
    watch: undefined,
    passed,
    frames: { sent: 0, received: 0 },
    idleMs: 30_000,
    ended: () => undefined,
    threw: () => undefined,
  })
  return {
    /** Sends a fragment, and waits until it has been searched. */
    async say(text: string, { first = false, fin = false } = {}) {
      const head = frameHead(first ? opcodes.text : opcodes.continuation, fin, text.length)
      far.write(Buffer.concat([head, Buffer.from(text)]))
      sent += head.length + text.length
      await expect.poll(() => passed.bytes, { timeout: 5_000 }).toBe(sent)
    },
    /** The client takes all that has come, and whatever comes from now on. */
    async read() {
      const done = taken
      taken = undefined
      const drained = client.writableNeedDrain ? once(client, 'drain') : undefined
      done?.()
      await drained
    },
    source: () => source,
    got: () => got,
    isHeldUp: () => client.writableNeedDrain,
    async [Symbol.asyncDispose]() {
      far.destroy()
      client.destroy()
      await Promise.resolve()
    },
  }
}

/** Has what follows begin at the end of what has gone to the client, which is a part of a credential. */
async function startInTheMidst(socket: Awaited<ReturnType<typeof startUnread>>) {
  await socket.say('~'.repeat(20_000), { first: true })
  expect(socket.isHeldUp()).toBe(true)
  await socket.say(`key=${secret.slice(0, 5)}`)
}

const masked = `key=${'*'.repeat(secret.length)}`

test('row 7: a client that does not read does not choose where a message pauses', async () => {
  await using socket = await startUnread()
  await startInTheMidst(socket)
  vi.advanceTimersByTime(300)
  await socket.say(secret.slice(5), { fin: true })
  await socket.read()
  await expect.poll(socket.got).toContain(masked)
})

test('row 7: nor does one that reads on just before a pause would be over', async () => {
  await using socket = await startUnread()
  await startInTheMidst(socket)
  vi.advanceTimersByTime(49)
  await socket.read()
  vi.advanceTimersByTime(49)
  await socket.say(secret.slice(5), { fin: true })
  await expect.poll(socket.got).toContain(masked)
})

test('row 7: a message whose next piece waits to be searched has not paused', async () => {
  await using socket = await startUnread()
  await startInTheMidst(socket)
  await socket.read()
  vi.advanceTimersByTime(20)
  socket.source().pause()
  vi.advanceTimersByTime(220)
  socket.source().resume()
  vi.advanceTimersByTime(49)
  await socket.say(secret.slice(5), { fin: true })
  await expect.poll(socket.got).toContain(masked)
})

test('a message whose client reads goes on in a pause', async () => {
  await using socket = await startUnread()
  await startInTheMidst(socket)
  await socket.read()
  vi.advanceTimersByTime(50)
  await expect.poll(socket.got).toContain(`key=${secret.slice(0, 5)}`)
})
