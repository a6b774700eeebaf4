import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { claimedClient, mintLabel, readLabel } from '../../src/mcp/label.ts'
import { createRunning } from '../../src/mcp/running.ts'
import { network, startGateway } from '../support/mcp-gateway.ts'
import { call, initialize, modernCall, modernHeaders, post, send } from '../support/mcp-wire.ts'
import { pause, type ScriptedTool, scriptedCalls, text } from '../support/scripted-calls.ts'

const tools: Record<string, ScriptedTool> = {
  echo: () => text('hello'),
  async never(_args, hooks) {
    await pause(60_000, hooks.signal)
    return text('never')
  },
}
const key = Buffer.alloc(32, 1)
const session = (id: string) => ({ 'mcp-session-id': id })
const cancel = (requestId: string | number) => ({
  jsonrpc: '2.0',
  method: 'notifications/cancelled',
  params: { requestId },
})

async function open(url: string, token = 'alice'): Promise<string> {
  const answer = await post(url, initialize(), { token })
  return answer.headers.get('mcp-session-id') ?? ''
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 150 && !condition(); tries++)
    await new Promise((resolve) => setTimeout(resolve, 20))
  expect(condition()).toBe(true)
}

test('a label is ours for its owner, foreign for anybody else, and unknown when it was touched', () => {
  const owner = fc.record({ principalId: fc.string(), toolkit: fc.option(fc.string(), { nil: null }) })
  const client = fc.option(fc.string({ minLength: 1, maxLength: 100, unit: 'grapheme' }), { nil: null })
  fc.assert(
    fc.property(owner, owner, client, fc.nat(), (mine, other, name, at) => {
      fc.pre(name === null || name.length <= 100)
      const label = mintLabel(key, mine, name)
      expect(label).toMatch(/^[\x21-\x7e]+$/)
      expect(readLabel(key, mine, label)).toEqual({ kind: 'ours', client: name })
      expect(claimedClient(label)).toBe(name)
      const same = mine.principalId === other.principalId && mine.toolkit === other.toolkit
      expect(readLabel(key, other, label).kind).toBe(same ? 'ours' : 'foreign')
      expect(readLabel(Buffer.alloc(32, 2), mine, label)).toEqual({ kind: 'unknown' })
      const spot = at % label.length
      const touched = `${label.slice(0, spot)}${label[spot] === 'A' ? 'B' : 'A'}${label.slice(spot + 1)}`
      // The last two bits of a proof's last character carry nothing; a touched seal still has an intact binding.
      expect(['unknown', 'ours']).toContain(readLabel(key, mine, touched).kind)
      expect(same || readLabel(key, other, touched).kind === 'unknown').toBe(true)
    }),
  )
})

test('anything else is an unknown label', () => {
  fc.assert(
    fc.property(fc.string(), (id) => {
      expect(readLabel(key, { principalId: 'p', toolkit: null }, id)).toEqual({ kind: 'unknown' })
    }),
  )
})

test('a session id that the server does not know is accepted', async () => {
  await using gateway = await startGateway(scriptedCalls(tools))
  for (const id of [
    'x',
    'f47ac10b-58cc-4372-a567-0e02b2c3d479',
    `tcs.${'a'.repeat(16)}..${'b'.repeat(22)}.${'c'.repeat(22)}`,
  ])
    expect((await post(gateway.url, call('echo'), { headers: session(id) })).status).toBe(200)
})

test('a label of another person or endpoint is refused, and opening again helps', async () => {
  const calls = scriptedCalls(tools)
  await using gateway = await startGateway(calls)
  const label = await open(gateway.url)
  const ops = `${gateway.url}/toolkits/ops`
  for (const [url, token] of [
    [gateway.url, 'bob'],
    [ops, 'aliceOps'],
  ] as const) {
    const answer = await post(url, call('echo', {}, 4), { token, headers: session(label) })
    expect([answer.status, answer.messages[0]?.id]).toEqual([403, 4])
    expect((await post(url, initialize(), { token, headers: session(label) })).status).toBe(200)
    expect((await post(url, undefined, { method: 'DELETE', token, headers: session(label) })).status).toBe(
      404,
    )
  }
  expect(calls.requests).toEqual([])
})

test('invariant 14: a session survives a restart of the server', async () => {
  const first = await startGateway(scriptedCalls(tools))
  const label = await open(first.url)
  await first.close()
  await using second = await startGateway(scriptedCalls(tools), { port: first.port })
  const answer = await post(second.url, call('echo'), { headers: session(label) })
  expect(answer.messages[0]?.result).toEqual(text('hello'))
})

test('a client that ends its session gets 200 once and 404 after', async () => {
  const calls = scriptedCalls(tools)
  await using gateway = await startGateway(calls)
  const label = await open(gateway.url)
  const end = () => post(gateway.url, undefined, { method: 'DELETE', headers: session(label) })
  const running = post(gateway.url, call('never'), { headers: session(label) })
  await until(() => calls.requests.length === 1)
  expect((await end()).status).toBe(200)
  expect((await running).messages).toEqual([])
  expect(calls.aborted).toEqual(['never'])
  expect((await end()).status).toBe(404)
  expect((await post(gateway.url, call('echo'), { headers: session(label) })).status).toBe(404)
  // The same words from somebody else are another session.
  expect((await post(gateway.url, call('echo'), { headers: session('other') })).status).toBe(200)
  const none = await post(gateway.url, undefined, { method: 'DELETE' })
  expect(none.status).toBe(400)
  const modern = { ...modernHeaders('x'), ...session(label) }
  expect((await post(gateway.url, undefined, { method: 'DELETE', headers: modern })).status).toBe(405)
})

for (const direct of [true, false]) {
  const way = direct ? 'the direct way' : 'the SDK'
  test(`a cancellation ends the call it names and no other, by ${way}`, async () => {
    const calls = scriptedCalls(tools)
    await using gateway = await startGateway(calls, { direct })
    const label = await open(gateway.url)
    const ended: (string | number)[] = []
    const start = (id: string | number, token = 'alice', headers = session(label)) =>
      void post(gateway.url, call('never', {}, id), { token, headers }).then(
        () => ended.push(`${token} ${JSON.stringify(id)}`),
        () => undefined,
      )
    start(1)
    start('1')
    start(1, 'bob', session('shared'))
    start(1, 'alice', session('shared'))
    await until(() => calls.requests.length === 4)
    // An id of another kind, another session, another person: all different calls.
    expect((await post(gateway.url, cancel(1), { token: 'bob', headers: session('shared') })).status).toBe(
      202,
    )
    await until(() => ended.length === 1)
    await post(gateway.url, cancel('1'), { headers: session(label) })
    await until(() => ended.length === 2)
    expect(ended).toEqual(['bob 1', 'alice "1"'])
    expect(calls.aborted.length).toBe(2)
    // Without a session there is nothing to tell two clients apart by.
    await post(gateway.url, cancel(1))
    await pause(50, new AbortController().signal)
    expect(calls.aborted.length).toBe(2)
  })

  test(`a client that goes away ends its call in both generations, by ${way}`, async () => {
    const calls = scriptedCalls(tools)
    await using gateway = await startGateway(calls, { direct })
    for (const [message, headers] of [
      [call('never'), {}],
      [modernCall('never'), modernHeaders('tools/call', 'never')],
    ] as const) {
      const before = calls.aborted.length
      const abort = new AbortController()
      const response = await send(gateway.url, message, { headers, signal: abort.signal })
      expect(response.status).toBe(200)
      await until(() => calls.requests.length === before + 1)
      abort.abort()
      await until(() => calls.aborted.length === before + 1)
    }
  })
}

test('a cancellation and the end of a session reach a call on another replica', async () => {
  const net = network()
  const calls = scriptedCalls(tools)
  await using here = await startGateway(calls, { net })
  await using there = await startGateway(scriptedCalls(tools), { net })
  const label = await open(here.url)
  const first = post(here.url, call('never', {}, 8), { headers: session(label) })
  const second = post(here.url, call('never', {}, 9), { headers: session(label) })
  await until(() => calls.requests.length === 2)
  await post(there.url, cancel(8), { headers: session(label) })
  await first
  expect(calls.aborted.length).toBe(1)
  expect(JSON.stringify(net.sent)).not.toContain(label)
  await post(there.url, undefined, { method: 'DELETE', headers: session(label) })
  await second
  expect((await post(here.url, call('echo'), { headers: session(label) })).status).toBe(404)
})

test('a 2026 request ignores a session id', async () => {
  await using gateway = await startGateway(scriptedCalls(tools))
  const label = await open(gateway.url, 'bob')
  const headers = { ...modernHeaders('tools/call', 'echo'), ...session(label) }
  expect((await post(gateway.url, modernCall('echo'), { headers })).status).toBe(200)
})

test('opened sessions leave nothing in memory, and calls only while they run', async () => {
  const running = createRunning({
    notices: { on: () => () => undefined },
    notify: () => Promise.resolve(),
    log: silentLog,
  })
  const outs = Array.from({ length: 10_000 }, (_, n) =>
    running.start(`session ${n}`, n % 7, new AbortController()),
  )
  expect(running.size).toBe(10_000)
  for (const out of outs) out()
  expect(running.size).toBe(0)
  // Ids that were used twice, and a way out that is taken twice.
  const a = running.start('s', 1, new AbortController())
  const b = running.start('s', 1, new AbortController())
  a()
  expect(running.size).toBe(1)
  b()
  b()
  expect(running.size).toBe(0)
})

test('10,000 sessions opened and left do not grow the heap', async () => {
  await using gateway = await startGateway(scriptedCalls(tools))
  const openMany = async (count: number) => {
    for (let done = 0; done < count; done += 50)
      await Promise.all(Array.from({ length: 50 }, () => open(gateway.url)))
  }
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heap = () => {
    collect()
    return process.memoryUsage().heapUsed
  }
  await openMany(1000)
  const before = heap()
  await openMany(10_000)
  const grown = heap() - before
  // The support's own list of requests included; a session of 1 KB would take 10 MB.
  expect(grown).toBeLessThan(8 * 1024 * 1024)
}, 120_000)
