import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createToolhostClient } from '../../src/runners/client/index.ts'
import type { CallFrame } from '../../src/wire/index.ts'
import { checkout, startTestToolhost } from './toolhost-process.ts'

const tick = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const types = (frames: CallFrame[]) => frames.map((frame) => frame.type)

test('a call is accepted before it runs and its result passes verbatim', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const answer = await host.call('nasty', 'verbatim')
  expect(types(answer.frames)).toEqual(['accepted', 'result'])
  expect(answer.type === 'result' && answer.result).toEqual({
    content: [
      { type: 'resource_link', uri: 'x://y', name: 'n', _meta: { a: [1, null, { 'ü\u2028': '\u0000' }] } },
    ],
    structuredContent: { deep: { values: [0.1, -1e-7, 12345678901, true, null] } },
    extra: { kept: true },
  })
})

test('progress and the errors of a source reach the gateway as they are', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const { frames } = await host.call('nasty', 'progress', { times: 3 })
  expect(frames.slice(1, 4)).toEqual(
    [1, 2, 3].map((progress) => ({ type: 'progress', progress, total: 3, message: `step ${progress}` })),
  )
  expect(await host.call('nasty', 'refuse')).toMatchObject({
    type: 'rpc_error',
    code: -32602,
    message: 'no such thing',
  })
  expect(await host.call('nasty', 'nothing')).toMatchObject({
    type: 'failed',
    code: 'source_invalid_output',
  })
})

test('a flood of progress is thinned and does not keep the result away', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const { type, frames } = await host.call('nasty', 'progress', { times: 50_000 })
  expect(type).toBe('result')
  expect(frames.length).toBeLessThan(1_000)
})

test('a real source from npm works, with all its tools and its progress', async () => {
  await using host = await startTestToolhost()
  await host.put('everything', [
    join(checkout, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js'),
  ])
  const list = await host.client.listTools(host.dial, 'everything', {
    expect: host.expect,
    signal: AbortSignal.timeout(10_000),
  })
  expect(list.type === 'ok' && list.tools.map((tool) => tool.name)).toContain('echo')
  expect(await host.text('everything', 'echo', { message: 'hello' })).toBe('Echo: hello')
  const long = await host.call('everything', 'trigger-long-running-operation', { duration: 0.2, steps: 2 })
  expect(types(long.frames)).toEqual(['accepted', 'progress', 'progress', 'result'])
})

test('a list of tools is joined from its pages, definitions verbatim', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const list = await host.client.listTools(host.dial, 'nasty', {
    expect: host.expect,
    signal: AbortSignal.timeout(10_000),
  })
  expect(list.type === 'ok' && list.tools.length).toBeGreaterThan(15)
  expect(list.type === 'ok' && list.tools[0]).toEqual({
    name: 'echo',
    inputSchema: { type: 'object' },
    'x-kept': 'echo',
  })
})

test('of 50 calls at once 4 run, 16 wait their turn, and the others are told that it is busy', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  await host.text('nasty', 'echo', { text: 'warm' })
  // None ends before all have come.
  const file = join(host.home, 'all-are-here')
  let open = 0
  let most = 0
  let refused = 0
  const answers = await Promise.all(
    Array.from({ length: 50 }, async () => {
      let begun = false
      const onFrame = (frame: CallFrame) => {
        if (frame.type !== 'accepted') return
        begun = true
        most = Math.max(most, (open += 1))
      }
      const answer = await host.call('nasty', 'wait', { file, ms: 150 }, { onFrame })
      if (begun) open -= 1
      if (answer.type === 'refused' && (refused += 1) === 30) await writeFile(file, '')
      return answer
    }),
  )
  const kinds = Object.groupBy(answers, (answer) => (answer.type === 'refused' ? answer.code : answer.type))
  expect([kinds['result']?.length, kinds['busy']?.length]).toEqual([20, 30])
  expect(kinds['busy']?.[0]).toMatchObject({ message: expect.stringContaining('try again') })
  expect(most).toBe(4)
})

test('a call cancelled while it waits leaves nothing and frees its place in the queue', async () => {
  await using host = await startTestToolhost({ limits: { parallelCalls: 1, queuedCalls: 1 } })
  await host.put('nasty')
  const first = host.call('nasty', 'slow', { ms: 600 })
  await tick(100)
  const stop = new AbortController()
  const waiting = host.call('nasty', 'crash', {}, { signal: stop.signal })
  await tick(100)
  stop.abort()
  expect(await waiting).toMatchObject({
    type: 'failed',
    code: 'call_cancelled',
    frames: [{ type: 'failed' }],
  })
  const next = host.call('nasty', 'echo', { text: 'next' })
  expect(await first).toMatchObject({ type: 'result' })
  expect(await next).toMatchObject({ type: 'result' })
})

test('a call to a source that was not put is refused before anything runs', async () => {
  await using host = await startTestToolhost()
  expect(await host.call('nobody', 'echo')).toEqual({
    type: 'refused',
    code: 'unknown_source',
    message: expect.stringContaining('nobody'),
    frames: [],
  })
})

test('a call sent twice is refused the second time, while it runs and after it', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  const first = host.call('nasty', 'slow', { ms: 200 }, { callId: 'call_same' })
  await tick(50)
  const again = { type: 'refused', code: 'invalid', message: expect.stringContaining('at most once') }
  expect(await host.call('nasty', 'echo', {}, { callId: 'call_same' })).toMatchObject(again)
  expect(await first).toMatchObject({ type: 'result' })
  expect(await host.call('nasty', 'echo', {}, { callId: 'call_same' })).toMatchObject(again)
})

test('a body over the limit is refused as too large', async () => {
  await using host = await startTestToolhost({
    limits: { requestBytes: 10_000 },
  })
  await host.put('nasty')
  expect(await host.call('nasty', 'echo', { text: 'x'.repeat(20_000) })).toMatchObject({
    type: 'refused',
    code: 'too_large',
  })
})

test('invariant 13: a request meant for another sandbox or generation is refused unread', async () => {
  await using host = await startTestToolhost()
  await host.put('nasty')
  for (const other of [
    { ...host.expect, sandboxUid: 'somebody-else' },
    { ...host.expect, generation: 8 },
  ]) {
    const options = { expect: other, signal: AbortSignal.timeout(5_000), onFrame: () => undefined }
    const call = host.client.call(
      host.dial,
      { callId: 'call_x', sourceId: 'nasty', tool: 'crash', arguments: {}, timeoutMs: 1_000 },
      options,
    )
    await expect(call).rejects.toMatchObject({
      code: 'runner_failed',
      details: { sent: false, stale: true },
    })
    await expect(host.client.drain(host.dial, options)).rejects.toMatchObject({ details: { stale: true } })
  }
  expect(await host.text('nasty', 'echo', { text: 'untouched' })).toBe('untouched')
})

test('invariant 13: an answer without the right identity is not believed', async () => {
  await using host = await startTestToolhost()
  const socketPath = join(host.folder, 'liar.sock')
  // Lies: answers everything with a result, as no toolhost of this generation.
  const liar = createServer((_, response) => {
    response.writeHead(200, { 'x-toolcrib-sandbox': host.expect.sandboxUid, 'x-toolcrib-generation': '6' })
    response.end('{"type":"accepted"}\n{"type":"result","result":{"content":[]}}\n')
  })
  await new Promise<void>((resolve) => liar.listen(socketPath, resolve))
  await using client = createToolhostClient()
  await expect(
    client.call(
      { socketPath, release: () => undefined },
      { callId: 'call_y', sourceId: 's', tool: 't', arguments: {}, timeoutMs: 1_000 },
      { expect: host.expect, signal: AbortSignal.timeout(5_000), onFrame: () => undefined },
    ),
  ).rejects.toMatchObject({ code: 'runner_failed', details: { sent: false, stale: true } })
  liar.closeAllConnections()
  liar.close()
})
