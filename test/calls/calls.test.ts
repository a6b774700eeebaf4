import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { AppError, digestJson } from '../../src/core/index.ts'
import type { RunnerAnswer } from '../../src/runners/index.ts'
import { notify } from '../../src/store/index.ts'
import { untilListening } from '../support/listeners.ts'
import { answering, hanging, life, refusalText, world } from './world.ts'

test('a call reaches its source by remote name, and its result comes back with nothing added', async () => {
  await using w = await world()
  const result = {
    content: [
      { type: 'text', text: 'a', annotations: { audience: ['user'] }, _meta: { k: 1 } },
      { type: 'image', data: 'aGk=', mimeType: 'image/png' },
      { type: 'audio', data: 'aGk=', mimeType: 'audio/wav' },
      { type: 'resource_link', uri: 'file:///x', name: 'x' },
      { type: 'resource', resource: { uri: 'file:///y', text: 'y' } },
      { type: 'a kind of tomorrow', anything: [null] },
    ],
    structuredContent: { rows: [1, 2] },
    _meta: { 'example.com/x': true },
    other: 1,
  }
  w.script = answering({ type: 'result', result })
  const answer = await w.call('demo_echo', { text: 'hi' })
  expect(answer.result).toEqual(result)
  expect(w.sent).toEqual([
    {
      callId: answer.callId,
      principalId: w.caller.principalId,
      source: { id: 'demo', command: 'demo', args: ['-x'], environment: {}, prefixes: {} },
      tool: 'echo',
      arguments: { text: 'hi' },
      timeoutMs: 300_000,
    },
  ])
  expect(await w.rows()).toMatchObject([
    {
      id: answer.callId,
      token_id: w.caller.tokenId,
      source_id: 'demo',
      tool: 'echo',
      arguments_digest: digestJson({ text: 'hi' }),
      state: 'finished',
      outcome: 'ok',
      code: null,
      runner_id: 'run_1',
      generation: 3,
      client: 'test 1.0',
    },
  ])
  const [event] = await w.events()
  expect(event).toMatchObject({
    callId: answer.callId,
    data: { alias: 'demo_echo', outcome: 'ok', decision: 'allow', rule: 'accepted', runnerId: 'run_1' },
  })
})

test('while a call runs its row says so, with the life that runs it', async () => {
  await using w = await world()
  let running: unknown
  w.script = async (_call, hooks) => {
    await hooks.sending({ runnerId: 'run_7' as never, generation: 9 })
    running = (await w.rows())[0]
    return { type: 'result', result: { content: [] } }
  }
  await w.call('demo_echo')
  expect(running).toMatchObject({ state: 'running', outcome: null, runner_id: 'run_7', generation: 9 })
})

test('progress and what is waited for are passed on', async () => {
  await using w = await world()
  const heard: unknown[] = []
  w.script = async (_call, hooks) => {
    hooks.waiting('starting your sandbox')
    await hooks.sending({ runnerId: 'run_1' as never, generation: 1 })
    hooks.progress({ type: 'progress', progress: 1, total: 2, message: 'half' })
    return { type: 'result', result: { content: [] } }
  }
  await w.calls.call(
    { caller: w.caller, toolkit: null, alias: 'demo_echo', arguments: { text: 'x' }, client: null },
    {
      signal: new AbortController().signal,
      progress: (...args) => heard.push(args),
      waiting: (sentence) => heard.push(sentence),
    },
  )
  expect(heard).toEqual(['starting your sandbox', [1, 2, 'half']])
})

test('an unknown tool is the one refusal thrown, with a suggestion and the call id, and it is recorded', async () => {
  await using w = await world()
  const error = await w.call('demo_eco\u0000').catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(AppError)
  const { code, message, details } = error as AppError
  expect(code).toBe('tool_unknown')
  expect(message).toMatch(/^There is no tool "demo_eco\?"\. Did you mean demo_echo\? \(call call_\w{20}\)$/)
  expect(await w.events()).toMatchObject([
    {
      callId: details['callId'],
      data: { alias: 'demo_eco?', outcome: 'denied', code: 'tool_unknown', decision: 'block' },
    },
  ])
  expect(w.sent).toEqual([])
})

test('a disabled, a blocked and a changed tool, and one outside the toolkit, are refused with rule and cure', async () => {
  await using w = await world()
  const latest = async () => ({ catalogVersion: (await w.catalog.latest()).version })
  expect(refusalText(await w.call('demo_echo', {}, { in: 'empty' }))).toBe(
    'tool_blocked: "demo_echo" may not be called: the toolkit "empty" does not include it. Ask an admin if you need it.',
  )
  expect(refusalText(await w.call('demo_echo', {}, { in: 'nowhere' }))).toMatch(
    /^not_found: .*no such toolkit/,
  )
  expect(refusalText(await w.call('demo_echo', {}, { toolkit: 'all' }))).toMatch(
    /^forbidden: .*only the toolkit "all"/,
  )
  await w.configure({ rules: [{ tools: 'demo.*', do: 'block', reason: 'freeze until Monday' }] })
  expect(refusalText(await w.call('demo_echo', {}, await latest()))).toMatch(
    /^tool_blocked: .*freeze until Monday/,
  )
  await w.configure({})
  await w.catalog.setToolEnabled('demo_echo', false, 'dana')
  expect(refusalText(await w.call('demo_echo', {}, await latest()))).toMatch(
    /^tool_blocked: .*admin disabled/,
  )
  await w.catalog.setToolEnabled('demo_echo', true, 'dana')
  await w.catalog.discover('demo', async () => [{ name: 'echo', inputSchema: {}, description: 'other' }])
  expect(refusalText(await w.call('demo_echo', {}, await latest()))).toMatch(
    // Its definition, or the rules of its source: an answer that names one alone sends people after the other.
    /^tool_unreviewed: .*this tool, or where it may send data, changed, and nobody has accepted that yet/,
  )
  expect(w.sent).toEqual([])
  expect((await w.events()).map(({ data }) => [data['outcome'], data['rule']]).toReversed()).toEqual([
    ['denied', 'toolkit empty'],
    ['denied', 'toolkit-unknown'],
    ['denied', 'token-toolkit'],
    ['denied', 'rule 1: block demo.*'],
    ['denied', 'disabled'],
    ['denied', 'changed'],
  ])
})

test('bad arguments are refused before a runner is woken, with what to correct', async () => {
  await using w = await world()
  expect(refusalText(await w.call('demo_echo', { text: 1, more: true }))).toBe(
    'arguments_invalid: The arguments do not fit "demo_echo": the arguments must not have "more"; /text must be string. Correct them and call again.',
  )
  expect(refusalText(await w.call('demo_echo', { text: 'x'.repeat(1_100_000) }))).toMatch(
    /^too_large: .*1 MiB/,
  )
  const deep = JSON.parse(`${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`) as Record<string, unknown>
  expect(refusalText(await w.call('demo_echo', deep))).toMatch(/^arguments_invalid: .*64 levels/)
  expect(w.sent).toEqual([])
  expect((await w.events()).map(({ data }) => data['outcome'])).toEqual(['failed', 'failed', 'failed'])
})

test.each<[string, RunnerAnswer, string, string | null, RegExp]>([
  [
    'crashes',
    { type: 'failed', code: 'source_crashed', message: 'The source ended with signal 9' },
    'failed',
    'source_crashed',
    /signal 9\. It may have done part of its work and was not repeated/,
  ],
  [
    'hangs',
    { type: 'failed', code: 'call_timed_out', message: 'The tool took longer than 300 s.' },
    'failed',
    'call_timed_out',
    /300 s\. It may have/,
  ],
  [
    'prints rubbish',
    {
      type: 'failed',
      code: 'source_invalid_output',
      message: 'The source wrote something that is not JSON-RPC.',
    },
    'failed',
    'source_invalid_output',
    /not JSON-RPC/,
  ],
  [
    'floods',
    { type: 'failed', code: 'too_large', message: 'The source wrote more than 16 MiB.' },
    'failed',
    'too_large',
    /16 MiB/,
  ],
  [
    'answers a JSON-RPC error',
    { type: 'rpc_error', code: -32602, message: 'need a city' },
    'tool_error',
    'source_failed',
    /source "demo" answered with an error \(-32602\): need a city/,
  ],
  [
    'answers no tool result',
    { type: 'result', result: { nonsense: 1 } },
    'failed',
    'source_invalid_output',
    /no tool result/,
  ],
  [
    'answers with a million brackets',
    {
      type: 'result',
      result: {
        content: [],
        structuredContent: { a: JSON.parse('['.repeat(1e6) + ']'.repeat(1e6)) as unknown },
      },
    },
    'failed',
    'source_invalid_output',
    /nests deeper than 256 levels/,
  ],
  [
    'answers too much',
    { type: 'result', result: { content: [{ type: 'text', text: 'x'.repeat(5 << 20) }] } },
    'failed',
    'too_large',
    /5\.0 MiB and at most 4\.0/,
  ],
  [
    'is lost',
    { type: 'unknown', message: 'the sandbox went away' },
    'unknown',
    'outcome_unknown',
    /not known whether this call ran: the sandbox went away\. It is not repeated/,
  ],
])(
  'a source that %s is a result with cause and call id, and recorded',
  async (_, answer, outcome, code, text) => {
    await using w = await world()
    w.script = answering(answer)
    const called = await w.call('demo_echo')
    expect(refusalText(called)).toMatch(text)
    expect(refusalText(called).startsWith(`${code}: `)).toBe(true)
    expect(await w.rows()).toMatchObject([{ id: called.callId, state: 'finished', outcome, code }])
    expect(await w.events()).toMatchObject([{ callId: called.callId, data: { outcome, code } }])
  },
)

test("a tool's own error passes as it is and is recorded as the tool's", async () => {
  await using w = await world()
  const result = { content: [{ type: 'text', text: 'no such city' }], isError: true }
  w.script = answering({ type: 'result', result })
  expect((await w.call('demo_echo')).result).toEqual(result)
  expect(await w.events()).toMatchObject([{ data: { outcome: 'tool_error', code: null } }])
})

test('an error comes with all that was noted of its call until then, and a result with nothing', {
  timeout: 60_000,
}, async () => {
  await using w = await world({ listens: true })
  const rounds = 10
  let isError = true
  w.script = async ({ callId }, hooks) => {
    await hooks.sending(life)
    const note = async (sentence: string) =>
      await notify(w.store.db, { kind: 'egress_denied', callIds: [callId], sentence })
    await note('first')
    // Long enough for the first to have come, which must not be taken for all.
    await sleep(5)
    await note('second')
    return { type: 'result', result: { content: [{ type: 'text', text: 'no' }], isError } }
  }
  await untilListening(w.store, 1)
  const texts = async () =>
    ((await w.call('demo_echo')).result['content'] as { text: string }[]).map(({ text }) => text)
  for (let i = 0; i < rounds; i += 1)
    for (const read of await Promise.all([texts(), texts(), texts(), texts()]))
      expect(read).toEqual(['no', 'first', 'second'])
  isError = false
  expect(await texts()).toEqual(['no'])
})

test.each(['runner_busy', 'runner_starting', 'runner_failed', 'egress_not_enforced'] as const)(
  'a runner that answers %s is a refusal that says that nothing ran',
  async (code) => {
    await using w = await world()
    w.script = async () => Promise.reject(new AppError(code, 'Your sandbox says no. Try again in 5 s.'))
    expect(refusalText(await w.call('demo_echo'))).toBe(
      `${code}: Your sandbox says no. Try again in 5 s. Nothing was run.`,
    )
    expect(await w.events()).toMatchObject([{ data: { outcome: 'failed', code } }])
  },
)

test('a refusal of the toolhost after the row was written closes the row as failed', async () => {
  await using w = await world()
  w.script = async (_call, hooks) => {
    await hooks.sending({ runnerId: 'run_1' as never, generation: 1 })
    throw new AppError('runner_busy', 'Your sandbox is busy.')
  }
  expect(refusalText(await w.call('demo_echo'))).toMatch(/^runner_busy: /)
  expect(await w.rows()).toMatchObject([{ state: 'finished', outcome: 'failed', code: 'runner_busy' }])
})

test('a client that cancels ends its call', async () => {
  await using w = await world()
  w.script = hanging
  const controller = new AbortController()
  const request = {
    caller: w.caller,
    toolkit: null,
    alias: 'demo_echo',
    arguments: { text: 'x' },
    client: null,
  }
  const call = w.calls.call(request, w.hooks(controller.signal))
  await expect.poll(() => w.sent.length).toBe(1)
  controller.abort()
  expect(refusalText(await call)).toBe('call_cancelled: This call was cancelled by its client.')
  expect(await w.events()).toMatchObject([{ data: { outcome: 'cancelled', code: 'call_cancelled' } }])
  expect(refusalText(await w.calls.call(request, w.hooks(controller.signal)))).toMatch(/^call_cancelled/)
  expect(w.sent).toHaveLength(1)
})

test('tools are listed in the order of their aliases, only those that may be called, and whoami', async () => {
  await using w = await world({ tools: ['zeta', 'beta', 'Alpha'].map((name) => ({ name, inputSchema: {} })) })
  await w.catalog.setToolEnabled('demo_beta', false, 'dana')
  const caller = { ...w.caller, catalogVersion: (await w.catalog.latest()).version }
  const aliases = async (toolkit: string | null, change: object = {}) =>
    (await w.calls.list({ ...caller, ...change }, toolkit)).map((tool) => tool.alias)
  expect(await aliases(null)).toEqual(['demo_alpha', 'demo_zeta', 'whoami'])
  expect(await aliases('all')).toEqual(['demo_alpha', 'demo_zeta', 'whoami'])
  expect(await aliases('empty')).toEqual(['whoami'])
  await expect(aliases('nowhere')).rejects.toMatchObject({ code: 'not_found' })
  await expect(aliases(null, { toolkit: 'all' })).rejects.toMatchObject({ code: 'forbidden' })
  const [alpha] = await w.calls.list(caller, null)
  expect(alpha?.definition).toEqual({ name: 'Alpha', inputSchema: {} })
})

test('whoami answers without a sandbox, fits its own schema, and is recorded', async () => {
  await using w = await world()
  const { callId, result } = await w.call('whoami', {}, { in: 'all', toolkit: 'all' })
  expect(result['structuredContent']).toEqual({
    principal: 'Alice',
    principalId: w.caller.principalId,
    tokenId: w.caller.tokenId,
    expiresAt: '2030-01-01T00:00:00.000Z',
    toolkit: 'all',
    tools: 2,
    runner: { state: 'stopped', message: 'it starts with the first call' },
    isolation: 'unshare',
  })
  expect(JSON.stringify(result['content'])).toContain('You are Alice.')
  const { compileSchema } = await import('../../src/calls/schema.ts')
  const { whoamiDefinition } = await import('../../src/calls/whoami.ts')
  expect(compileSchema(whoamiDefinition['outputSchema'])(result['structuredContent'])).toEqual([])
  expect(await w.events()).toMatchObject([
    { callId, data: { outcome: 'ok', rule: 'built-in', decision: 'allow' } },
  ])
  expect(w.sent).toEqual([])
})
