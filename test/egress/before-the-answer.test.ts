import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { armed, host } from '../support/armed.ts'
import { clientHello } from '../support/client-hello.ts'
import { connectRequest, makeWorld, sayAndRead } from '../support/egress-world.ts'

/** What a client sends before its CONNECT was answered, with it and behind it. */

test('bytes that come with CONNECT are refused also where they begin a slice of what was read', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, () => undefined)
  const head = connectRequest(host, up.port, 'orders', world.lease).slice(0, -2)
  // The first slice of a connection has 4 KiB.
  const filler = `X-Filler: ${'y'.repeat(4_096 - head.length - 'X-Filler: \r\n\r\n'.length)}\r\n\r\n`
  const answer = await sayAndRead(await world.connect(), `${head}${filler}\x16\x03\x01`)
  expect(answer).toContain('tunnel_early_data')
})

// A proxy of a busy machine may read the two at once, and is right to refuse them: hence more than one try.
test('a handshake that does not wait for the answer to CONNECT is gone on with, in however many pieces it comes', {
  retry: 3,
}, async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, () => undefined)
  const socket = await world.connect()
  let heard = ''
  socket.on('data', (piece: Buffer) => (heard += piece.toString('latin1')))
  socket.write(connectRequest(host, up.port, 'orders', world.lease))
  const hello = await clientHello(host)
  for (const piece of [hello.subarray(0, 50), hello.subarray(50, 100), hello.subarray(100)]) {
    await sleep(2)
    socket.write(piece)
  }
  // A record of TLS behind the answer: a word of the handshake, or what was wrong with it.
  await expect.poll(() => heard.split('\r\n\r\n')[1]?.slice(1, 3)).toBe('\x03\x03')
})
