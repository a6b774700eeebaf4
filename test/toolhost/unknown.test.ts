import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createToolhostClient, type ToolhostClient } from '../../src/runners/client/index.ts'
import { startTestToolhost } from './toolhost-process.ts'

const tick = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const identity = { sandboxUid: 'uid', generation: 1 }
const headers = { 'x-toolcrib-sandbox': 'uid', 'x-toolcrib-generation': '1' }

function send(client: ToolhostClient, socketPath: string, signal = AbortSignal.timeout(20_000)) {
  return client.call(
    { socketPath, release: () => undefined },
    { callId: 'call_1', sourceId: 's', tool: 't', arguments: {}, timeoutMs: 1_000 },
    { expect: identity, signal, onFrame: () => undefined },
  )
}

async function listen(server: Server, socketPath: string): Promise<AsyncDisposable> {
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('invariant 7: a toolhost killed in mid-call makes the call unknown, and the next one certainly not sent', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const source = Number(await host.text('nasty', 'pid'))
  const call = host.call('nasty', 'hang')
  await tick(100)
  process.kill(host.pid, 'SIGKILL')
  expect(await call).toMatchObject({
    type: 'unknown',
    message: expect.stringContaining('not sent again'),
    frames: [{ type: 'accepted' }],
  })
  await expect(host.call('nasty', 'echo')).rejects.toMatchObject({
    code: 'runner_failed',
    details: { sent: false, stale: false },
  })
  // Without a sandbox of its own nobody else ends it.
  process.kill(source, 'SIGKILL')
})

test('invariant 7: a connection lost after the request was written and before it was accepted is unknown', async () => {
  await using host = await startTestToolhost()
  const socketPath = join(host.folder, 'silent.sock')
  let requests = 0
  // Lies: reads every request and hangs up without a word.
  const server = createServer((request) => {
    requests += 1
    request.resume().once('end', () => request.socket.destroy())
  })
  await using _ = await listen(server, socketPath)
  await using client = createToolhostClient()
  expect(await send(client, socketPath)).toMatchObject({ type: 'unknown' })
  expect(requests).toBe(1)
})

test.for([
  ['ends after accepted', '{"type":"accepted"}\n'],
  ['ends after nothing', ''],
  ['sends what is no frame', '{"type":"accepted"}\n{"type":"surprise"}\n'],
  ['ends in the middle of a frame', '{"type":"accepted"}\n{"type":"result","result":{"con'],
])('invariant 7: an answer that %s is unknown', async ([, body]) => {
  await using host = await startTestToolhost()
  const socketPath = join(host.folder, 'short.sock')
  // Lies: accepts a call and never brings it to an end.
  const server = createServer((_request, response) => response.writeHead(200, headers).end(body))
  await using _ = await listen(server, socketPath)
  await using client = createToolhostClient()
  expect(await send(client, socketPath)).toMatchObject({ type: 'unknown' })
})

test('a call cancelled before it was sent, or whose sandbox is not there, was certainly not sent', async () => {
  await using client = createToolhostClient()
  await expect(send(client, '/nowhere/toolhost.sock', AbortSignal.abort())).rejects.toMatchObject({
    code: 'call_cancelled',
    details: { sent: false },
  })
  await expect(send(client, '/nowhere/toolhost.sock')).rejects.toMatchObject({
    code: 'runner_failed',
    details: { sent: false },
  })
})

test('a cancelled call that the sandbox says nothing about is unknown after five seconds', async () => {
  await using host = await startTestToolhost()
  const socketPath = join(host.folder, 'hanging.sock')
  // Lies: accepts a call and then answers nothing to anybody.
  const server = createServer((request, response) => {
    if (request.method === 'POST') response.writeHead(200, headers).write('{"type":"accepted"}\n')
  })
  await using _ = await listen(server, socketPath)
  await using client = createToolhostClient()
  const stop = new AbortController()
  const call = send(client, socketPath, stop.signal)
  await tick(100)
  stop.abort()
  expect(await call).toMatchObject({ type: 'unknown', message: expect.stringContaining('within 5 s') })
})

test('a gateway that goes away cancels its calls', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const pid = await host.text('nasty', 'pid')
  const other = createToolhostClient()
  const call = other.call(
    host.dial,
    { callId: 'call_left', sourceId: 'nasty', tool: 'hang', arguments: {}, timeoutMs: 20_000 },
    { expect: host.expect, signal: AbortSignal.timeout(20_000), onFrame: () => undefined },
  )
  await tick(100)
  await other[Symbol.asyncDispose]()
  expect(await call).toMatchObject({ type: 'unknown' })
  const running = async () =>
    (await host.client.health(host.dial, { signal: AbortSignal.timeout(5_000) })).running
  await expect.poll(running).toBe(0)
  expect(await host.text('nasty', 'pid')).not.toBe(pid)
})

test('something in the toolhost’s place that sends progress without end is hung up on, and the call is unknown', async () => {
  await using host = await startTestToolhost()
  const socketPath = join(host.folder, 'flood.sock')
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, headers)
    const line = `${JSON.stringify({ type: 'progress', progress: 1 })}\n`.repeat(1_000)
    const pour = () => {
      while (!response.destroyed && response.write(line));
      if (!response.destroyed) response.once('drain', pour)
    }
    pour()
  })
  await using _ = await listen(server, socketPath)
  await using client = createToolhostClient()
  expect(await send(client, socketPath)).toMatchObject({
    type: 'unknown',
    message: expect.stringContaining('progress without end'),
  })
})
