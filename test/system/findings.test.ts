import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { connectV1, type Result, textOf } from '../support/clients.ts'
import { testNeeding } from '../support/needs.ts'
import { sandboxOf } from '../support/processes.ts'
import { type ServeProcess, startServe } from '../support/serve-process.ts'
import { until } from '../support/until.ts'

// What other gateways were seen to get wrong when they were measured side by side, each as a test of this one.

const test = testNeeding('sandbox')
const heartbeatMs = 2_000
let serve: ServeProcess
let token: string

beforeAll(async () => {
  serve = await startServe({
    // Little room for garbage, so that what grows is what is kept.
    environment: { NODE_OPTIONS: '--max-semi-space-size=2 --max-old-space-size=256' },
    config: {
      mcp: { heartbeat_seconds: heartbeatMs / 1_000 },
      sandbox: { parallel_calls: 3, queued_calls: 1 },
      policy: { rules: [{ tools: 'nasty.environment', do: 'block', reason: 'nobody needs it' }] },
    },
  })
  token = await serve.token()
  await until(async () => {
    await using client = await connectV1(serve.url, token)
    const names = await client.list()
    return ['nasty_pid', 'brief_hang', 'workspace_run'].every((name) => names.includes(name))
  }, 60_000)
  await using client = await connectV1(serve.url, token)
  await client.call('nasty_echo', { text: 'warm' })
}, 90_000)
afterAll(async () => await serve[Symbol.asyncDispose]())

/** Longer than the 30 s at which one gateway gave up; with patience, the 70 s that were measured with all. */
for (const { seconds, take } of [
  { seconds: 35, take: test },
  { seconds: 70, take: testNeeding('sandbox', 'patience') },
])
  take(
    `a call of ${seconds} s is answered, with its first byte at once and never silent`,
    async () => {
      const started = performance.now()
      const response = await post({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'nasty_slow', arguments: { ms: seconds * 1_000 } },
      })
      let last = performance.now()
      const first = last - started
      let longest = 0
      let text = ''
      for await (const chunk of response.body ?? []) {
        longest = Math.max(longest, performance.now() - last)
        last = performance.now()
        text += new TextDecoder().decode(chunk as Uint8Array)
      }
      expect(text).toContain('"done"')
      expect(last - started).toBeGreaterThan(seconds * 1_000)
      expect(first).toBeLessThan(2_000)
      expect(longest).toBeLessThan(heartbeatMs + 2_000)
    },
    120_000,
  )

test('a source killed in mid-call is an error at once, and the same session goes on', async () => {
  await using client = await connectV1(serve.url, token)
  await client.call('nasty_echo', { text: 'there' })
  const [source] = (await sandboxOf(serve.folder, 'alice')).filter(({ commandLine }) =>
    /^\S*node \S+nasty\.mjs $/.test(commandLine),
  )
  const call = client.call('nasty_hang')
  await until(async () => (await running()) === 1)
  process.kill(source?.pid ?? 0, 'SIGKILL')
  const killed = performance.now()
  const result = await call
  expect(performance.now() - killed).toBeLessThan(2_000)
  expect(result.isError).toBe(true)
  expect(textOf(result)).toMatch(/"nasty"[^]*(ended|crashed|killed|SIGKILL)[^]*call_\w+/)
  expect(textOf(await client.call('nasty_echo', { text: 'again' }))).toBe('again')
  expect((await client.call('nasty_crash')).isError).toBe(true)
  expect(textOf(await client.call('nasty_echo', { text: 'and again' }))).toBe('and again')
}, 60_000)

test('invariant 14: after kill -9 of the gateway the old session works, in the same sandbox', async () => {
  const client = await connectV1(serve.url, token)
  const session = client.transport.sessionId
  const source = textOf(await client.call('nasty_pid'))
  const inside = async () => (await sandboxOf(serve.folder, 'alice')).map(({ pid }) => pid).slice(0, 3)
  const sandbox = await inside()
  const generation = await generationOf('Alice')

  await serve.killAndStartAgain()
  expect(textOf(await client.call('nasty_pid'))).toBe(source)
  expect(client.transport.sessionId).toBe(session)
  expect(await inside()).toEqual(sandbox)
  expect(await generationOf('Alice')).toBe(generation)
  await client[Symbol.asyncDispose]()
}, 60_000)

test('2,000 sessions opened and left cost next to nothing, and no process', async () => {
  const open = async (count: number) => {
    for (let left = count; left > 0; left -= 20)
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const response = await post({
            jsonrpc: '2.0',
            id: 0,
            method: 'initialize',
            params: {
              protocolVersion: '2025-11-25',
              capabilities: {},
              clientInfo: { name: 'leaver', version: '1' },
            },
          })
          expect(response.headers.get('mcp-session-id')).toMatch(/^tcs\./)
          await response.text()
        }),
      )
  }
  await open(500)
  const before = await residentMegabytes()
  const processesBefore = (await sandboxOf(serve.folder, 'alice')).length
  await open(2_000)
  const grown = (await residentMegabytes()) - before
  process.stderr.write(`    2,000 sessions: ${before} MB, ${grown} MB more\n`)
  // Some garbage is in this; a process for each session would be 40,000.
  expect(grown).toBeLessThan(64)
  expect((await sandboxOf(serve.folder, 'alice')).length).toBe(processesBefore)
}, 120_000)

test('no wait is silent: not for a sandbox, not in the queue', async () => {
  await using client = await connectV1(serve.url, token)
  const calling = (name: string, args: Record<string, unknown>) => {
    const seen: { at: number; message: string | undefined; progress: number }[] = []
    const begun = performance.now()
    const result = client.client.callTool({ name, arguments: args }, undefined, {
      timeout: 60_000,
      onprogress: ({ message, progress }) => seen.push({ at: performance.now() - begun, message, progress }),
    })
    return { seen, result: result as Promise<Result> }
  }
  expect((await serve.toolcrib(['runners', 'stop', 'alice'])).code).toBe(0)
  const cold = calling('nasty_echo', { text: 'awake' })
  expect(textOf(await cold.result)).toBe('awake')
  expect(cold.seen[0]?.message).toMatch(/sandbox/)
  expect(cold.seen[0]?.at).toBeLessThan(heartbeatMs)

  // Three run, as many as may; the fourth waits for its turn and hears of it.
  const busy = Array.from({ length: 3 }, () => calling('nasty_slow', { ms: 9_000 }))
  await until(async () => (await running()) === 3)
  const queued = calling('nasty_echo', { text: 'my turn' })
  expect(textOf(await queued.result)).toBe('my turn')
  expect(queued.seen.length).toBeGreaterThanOrEqual(2)
  const gaps = queued.seen.map(({ at }, index) => at - (queued.seen[index - 1]?.at ?? 0))
  expect(Math.max(...gaps)).toBeLessThan(heartbeatMs + 2_000)
  for (const { seen } of [cold, queued]) {
    expect(seen.every(({ message }) => (message ?? '') !== '')).toBe(true)
    const values = seen.map(({ progress }) => progress)
    expect(values).toEqual([...new Set(values)].toSorted((a, b) => a - b))
  }
  for (const { result } of busy) expect(textOf(await result)).toBe('done')
}, 90_000)

const failures: [what: string, name: string, args: Record<string, unknown>, says: RegExp][] = [
  ['a blocked tool', 'nasty_environment', {}, /blocked[^]*nobody needs it|nobody needs it/],
  ['wrong arguments', 'workspace_run', { command: 7 }, /command/],
  ["a source's own error", 'nasty_refuse', {}, /"nasty"[^]*no such thing/],
  ['a source that exits', 'nasty_crash', {}, /"nasty"[^]*7/],
  ['a source that aborts', 'nasty_abort', {}, /"nasty"/],
  ['an answer that is no result', 'nasty_nothing', {}, /"nasty"[^]*neither a result nor an error/],
  ['a result that is too large', 'nasty_huge', { bytes: 6 * 1024 * 1024 }, /6291\d+ bytes; at most 4194304/],
  ['a line without end', 'nasty_line', { bytes: 40 * 1024 * 1024 }, /"nasty"/],
  ['a tool that takes too long', 'brief_hang', {}, /2 s|2 seconds/],
]
for (const [what, name, args, says] of failures) {
  test(`no error is empty: ${what}`, async () => {
    await using client = await connectV1(serve.url, token)
    const result = await client.call(name, args)
    const text = textOf(result)
    expect(result.isError).toBe(true)
    expect(text).toMatch(says)
    const [callId] = /call_\w+/.exec(text) ?? [text]
    const audit = JSON.parse((await serve.toolcrib(['audit', '--call', callId, '--json'])).stdout) as {
      events: { kind: string; data: { outcome?: string; code?: string } }[]
    }
    expect(audit.events.map(({ kind }) => kind)).toContain('call.finished')
    expect(audit.events[0]?.data.code ?? '').not.toBe('')
  }, 60_000)
}

test('no error is empty: an unknown tool, a full sandbox, a call that its client cancelled', async () => {
  await using client = await connectV1(serve.url, token)
  await expect(client.call('nasty_ecko')).rejects.toThrow(/nasty_ecko[^]*nasty_echo/)

  const calls = Array.from({ length: 6 }, () => client.call('nasty_slow', { ms: 4_000 }))
  const texts = (await Promise.all(calls)).map(textOf)
  const refused = texts.filter((text) => text !== 'done')
  expect(refused).toHaveLength(2)
  for (const text of refused) {
    expect(text).toMatch(/busy with other calls[^]*call_\w+/)
    expect(text.match(/nothing was run/gi)).toHaveLength(1)
  }

  const abort = new AbortController()
  const cancelled = client.client.callTool({ name: 'nasty_hang' }, undefined, { signal: abort.signal })
  await until(async () => (await running()) === 1)
  abort.abort()
  await expect(cancelled).rejects.toThrow(/abort|cancel/i)
  await until(async () => {
    const { stdout } = await serve.toolcrib(['audit', '--kind', 'call.finished', '--limit', '1', '--json'])
    return stdout.includes('"cancelled"')
  })
}, 60_000)

async function post(message: object): Promise<Response> {
  return await fetch(serve.url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify(message),
  })
}

async function residentMegabytes(): Promise<number> {
  const status = await readFile(`/proc/${serve.pid()}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
}

async function generationOf(person: string): Promise<number | undefined> {
  const { stdout } = await serve.toolcrib(['runners', 'list', '--json'])
  const { runners } = JSON.parse(stdout) as { runners: { principalName: string; generation: number }[] }
  return runners.find(({ principalName }) => principalName === person)?.generation
}

/** Calls that are in flight now. */
async function running(): Promise<number> {
  return await serve.flying()
}
