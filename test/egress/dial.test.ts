import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { listenLocally } from '../support/listening.ts'

test('a connection is handed over without a listener or a limit of its making, and outlives the time for it', async () => {
  const server = createServer()
  const port = await listenLocally(server)
  const socket = await systemDial({ address: '127.0.0.1', port, timeoutMs: 50 })
  for (const event of ['connect', 'error', 'timeout'])
    expect([event, socket.listenerCount(event)]).toEqual([event, 0])
  let ended = false
  socket.on('close', () => {
    ended = true
  })
  // Whoever has it now may be told that it is idle, and decide what that means.
  socket.setTimeout(50)
  await once(socket, 'timeout')
  expect([socket.timeout, ended, socket.destroyed]).toEqual([50, false, false])
  socket.destroy()
  server.close()
})

test('an address that refuses a connection is an error', async () => {
  const server = createServer()
  const port = await listenLocally(server)
  await new Promise((resolve) => server.close(resolve))
  await expect(systemDial({ address: '127.0.0.1', port, timeoutMs: 1_000 })).rejects.toThrow('ECONNREFUSED')
})
