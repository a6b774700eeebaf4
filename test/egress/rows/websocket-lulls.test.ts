import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { WebSocket } from 'ws'
import { listenTo } from '../../support/armed.ts'
import { injectBearer, makeWorld, rule, theSecret, type World } from '../../support/egress-world.ts'
import { mustOpen, startWebSocketUpstream, type WebSocketUpstream } from '../../support/websocket.ts'

/** A searched WebSocket whose server takes its time within a message. */

const host = 'live.example.com'
/** Longer than a pause is, also where others work on the machine. */
const pauseMs = 200

async function searched(world: World, handle: (server: WebSocket) => void = () => undefined) {
  const up = await startWebSocketUpstream(world.upstreamContext, handle)
  await world.setRules([rule(host, up.port, { methods: ['WEBSOCKET'], inject: injectBearer })])
  return up
}

/** A WebSocket that is open, the server's end of it, and what has come of its messages so far. */
async function opened(world: World, up: WebSocketUpstream) {
  const tunnel = await world.tunnel(host, up.port)
  const { socket, messages, closed } = await mustOpen(world, { host, port: up.port, path: '/', over: tunnel })
  const [server] = up.sockets.slice(-1)
  if (server === undefined) throw new Error('no server has it')
  return { socket, messages, closed, server, heard: listenTo(tunnel) }
}

test('a message in slow fragments is seen as it comes', async () => {
  await using world = await makeWorld()
  await using up = await searched(world)
  const { server, heard, messages } = await opened(world, up)
  for (const word of ['once ', 'upon ', 'a time ']) {
    server.send(word, { fin: false })
    await expect.poll(() => heard.text, { timeout: 5_000 }).toContain(word)
  }
  expect(messages).toEqual([])
  server.send('there was', { fin: true })
  await expect.poll(() => messages).toEqual(['once upon a time there was'])
})

test.each([
  ['', 'once upon'],
  [' also where what stands before it may begin a credential', theSecret.slice(0, 20)],
])('a ping in the midst of a message that has paused is answered,%s', async (_, text) => {
  await using world = await makeWorld()
  await using up = await searched(world)
  const { server, messages } = await opened(world, up)
  const pongs: string[] = []
  server.on('pong', (data: Buffer) => pongs.push(data.toString()))
  server.send(text, { fin: false })
  for (const round of ['1', '2', '3']) {
    server.ping(round)
    await expect.poll(() => pongs.at(-1), { timeout: 5_000 }).toBe(round)
  }
  server.send('.', { fin: true })
  await expect.poll(() => messages).toEqual([`${text}.`])
})

test('row 7: a credential that is cut over fragments with pauses between is masked, but for what tells nothing', async () => {
  await using world = await makeWorld()
  await using up = await searched(world)
  const { server, heard, messages } = await opened(world, up)
  // Seven letters, and what stands between them and behind.
  const untelling = 'S3cr3t+V'.length
  for (const cuts of [[5], [9], [20, 21], [7, 14, 40], [42], [8, 43]]) {
    const text = `is: ${theSecret}&more`
    const begun = heard.text.length
    let from = 0
    for (const cut of cuts) {
      server.send(text.slice(from, 4 + cut), { fin: false })
      from = 4 + cut
      const shown = text.slice(0, 4 + (cut <= untelling ? cut : 0))
      await expect.poll(() => heard.text.slice(begun)).toContain(shown)
      await sleep(pauseMs)
    }
    const before = messages.length
    server.send(text.slice(from), { fin: true })
    await expect.poll(() => messages.length).toBe(before + 1)
    const [first = 0] = cuts
    const shown = first <= untelling ? first : 0
    const masked = `${theSecret.slice(0, shown)}${'*'.repeat(theSecret.length - shown)}`
    expect(messages.at(-1)).toBe(`is: ${masked}&more`)
  }
  expect(heard.text).not.toContain(theSecret.slice(0, untelling + 1))
})

test('a close behind a message that is not whole comes, behind as much of it as tells nothing', async () => {
  await using world = await makeWorld()
  await using up = await searched(world)
  for (const [text, shown] of [
    ['not yet', 'not yet'],
    [`is: ${theSecret.slice(0, 6)}`, `is: ${theSecret.slice(0, 6)}`],
    [`is: ${theSecret.slice(0, 20)}`, 'is: '],
  ]) {
    const { server, heard, closed } = await opened(world, up)
    server.send(text ?? '', { fin: false })
    server.close(4_001, 'enough')
    expect(await closed).toBe(4_001)
    expect(heard.text).toMatch(`${shown}\x88`)
    await expect.poll(async () => (await world.outcome())['failure']).toBeNull()
  }
})

test('what came of a message before its server broke off is seen, but for what may begin a credential', async () => {
  await using world = await makeWorld()
  await using up = await searched(world)
  const { server, heard, closed } = await opened(world, up)
  server.send(`not yet ${theSecret.slice(0, 20)}`, { fin: false }, () => server.terminate())
  expect(await closed).toBe(1_006)
  expect(heard.text).toMatch(/not yet $/)
})
