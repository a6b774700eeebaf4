import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AppError } from '../../src/core/index.ts'
import { createProgress } from '../../src/mcp/progress.ts'
import { startGateway } from '../support/mcp-gateway.ts'
import { call, envelope, type Message, modernCall, modernHeaders, post, send } from '../support/mcp-wire.ts'
import { pause, type ScriptedTool, scriptedCalls, text } from '../support/scripted-calls.ts'

/** Every kind of block, with members that no schema knows. */
const everything = {
  content: [
    {
      type: 'text',
      text: 'a\u2028b "c" 🙂',
      annotations: { audience: ['user'], priority: 0.5, x: 1 },
      _meta: { k: 1 },
    },
    { type: 'image', data: 'aGk=', mimeType: 'image/png', future: { deep: [null, true] } },
    { type: 'audio', data: 'aGk=', mimeType: 'audio/wav' },
    { type: 'resource', resource: { uri: 'a://b', text: 't', mimeType: 'text/plain', extra: 1 } },
    { type: 'resource', resource: { uri: 'a://c', blob: 'aGk=' } },
    {
      type: 'resource_link',
      uri: 'a://d',
      name: 'd',
      icons: [{ src: 'https://x.example/i.png' }],
      extra: [],
    },
    { type: 'hologram', voxels: [[[0]]] },
  ],
  structuredContent: { n: 1.5, nested: { list: [1, 'two', null] }, __proto: 'x' },
  _meta: { 'example.com/trace': { id: 'abc' } },
  unknownMember: { kept: true },
}

const tools: Record<string, ScriptedTool> = {
  everything: () => everything,
  echo: (args) => ({ content: [], structuredContent: args }),
  list: () => ({ ...text('[1]'), structuredContent: [1] }),
  silent: () => ({ isError: true }),
  asks: () => ({ resultType: 'input_required', inputRequests: {} }),
  crash: () => Promise.reject(new Error('password=hunter2 at /srv/secret.ts')),
  refused: () => Promise.reject(new AppError('runner_busy', 'Your sandbox is busy; try again in a minute.')),
  async slow(_args, hooks) {
    await pause(350, hooks.signal)
    return text('done')
  },
  async steps(_args, hooks) {
    hooks.waiting('Your sandbox is starting')
    hooks.progress(0, 3, 'zero')
    hooks.progress(1, 3, undefined)
    hooks.progress(1, 3, 'again')
    hooks.progress(0.5, undefined, 'back')
    hooks.progress(Number.NaN, undefined, 'nonsense')
    hooks.progress(2, 3, 'two')
    await Promise.resolve()
    return text('done')
  },
}

const requests: [string, unknown, Record<string, string>][] = Object.keys(tools).flatMap((name) =>
  [undefined, {}, { text: 'x', n: [1, { deep: null }] }].flatMap(
    (args): [string, unknown, Record<string, string>][] => [
      [`2025 ${name}`, call(name, args, 7, 0), { 'mcp-protocol-version': '2025-06-18' }],
      [`2025 ${name}, no token`, call(name, args, 'id'), {}],
      [`2026 ${name}`, modernCall(name, args, 'x', 'p'), modernHeaders('tools/call', name)],
    ],
  ),
)

test('the direct way and the SDK send the same messages, byte for byte', async () => {
  await using direct = await startGateway(scriptedCalls(tools), { heartbeatMs: 120 })
  await using sdk = await startGateway(scriptedCalls(tools), { heartbeatMs: 120, direct: false })
  const wrong: [string, unknown, Record<string, string>][] = [
    ['unknown tool', call('nope'), {}],
    ['unknown tool, 2026', modernCall('nope'), modernHeaders('tools/call', 'nope')],
    ['arguments are a list', call('echo', [1]), {}],
    ['arguments are null', call('echo', null), {}],
    ['no name', { jsonrpc: '2.0', id: 1, method: 'tools/call', params: {} }, {}],
    ['no params', { jsonrpc: '2.0', id: 1, method: 'tools/call' }, {}],
    ['id is null', { ...call('echo'), id: null }, {}],
    ['id is a fraction', { ...call('echo'), id: 1.5 }, {}],
    ['wrong jsonrpc', { ...call('echo'), jsonrpc: '1.0' }, {}],
    ['name header differs', modernCall('echo'), modernHeaders('tools/call', 'slow')],
    ['name header missing', modernCall('echo'), modernHeaders('tools/call')],
    ['envelope without header', modernCall('echo'), {}],
    ['header without envelope', call('echo'), modernHeaders('tools/call', 'echo')],
    ['old version', call('echo'), { 'mcp-protocol-version': '1999-01-01' }],
    ['name in base64', modernCall('echo'), modernHeaders('tools/call', '=?base64?ZWNobw==?=')],
  ]
  for (const [title, message, headers] of [...requests, ...wrong]) {
    const [one, other] = await Promise.all(
      [direct, sdk].map((gateway) => post(gateway.url, message, { headers })),
    )
    expect([title, one?.status]).toEqual([title, other?.status])
    // Timing decides how many heartbeats there are.
    const exact = (messages: Message[] = []) =>
      messages
        .filter((each) => !String(each.params?.['message']).endsWith(' s)'))
        .map((each) => JSON.stringify(each))
    expect([title, ...exact(one?.messages)]).toEqual([title, ...exact(other?.messages)])
    expect(exact(one?.messages)).not.toEqual([])
  }
}, 60_000)

for (const direct of [true, false]) {
  const way = direct ? 'the direct way' : 'the SDK'

  test(`content of every kind passes unharmed, by ${way}`, async () => {
    await using gateway = await startGateway(scriptedCalls(tools), { direct })
    const old = await post(gateway.url, call('everything'))
    expect(old.messages[0]?.result).toEqual(everything)
    const now = await post(gateway.url, modernCall('everything'), {
      headers: modernHeaders('tools/call', 'everything'),
    })
    const { resultType, _meta, ...rest } = now.messages[0]?.result ?? {}
    expect(resultType).toBe('complete')
    expect(_meta).toEqual({ ...everything._meta, 'io.modelcontextprotocol/serverInfo': expect.anything() })
    expect(rest).toEqual({
      content: everything.content,
      structuredContent: everything.structuredContent,
      unknownMember: everything.unknownMember,
    })
  })

  test(`a silent call sends bytes at once and a sign of life at every heartbeat, by ${way}`, async () => {
    await using gateway = await startGateway(scriptedCalls(tools), { direct, heartbeatMs: 80 })
    for (const [message, headers, sign] of [
      [call('slow', {}, 1, 0), {}, 'notifications/progress'],
      [call('slow', {}, 1), {}, ': keepalive'],
      [modernCall('slow', {}, 1, 0), modernHeaders('tools/call', 'slow'), 'notifications/progress'],
      [modernCall('slow', {}, 1), modernHeaders('tools/call', 'slow'), ': keepalive'],
    ] as const) {
      const started = Date.now()
      const response = await send(gateway.url, message, { headers })
      const early = Date.now() - started
      expect(response.headers.get('content-type')).toBe('text/event-stream')
      expect(response.headers.get('x-accel-buffering')).toBe('no')
      const body = await response.text()
      expect(early).toBeLessThan(Date.now() - started - 100)
      expect(body.split(sign).length).toBeGreaterThan(3)
      expect(body).toContain('"done"')
    }
  })

  test(`progress strictly increases, whatever the tool says, and ends with the result, by ${way}`, async () => {
    await using gateway = await startGateway(scriptedCalls(tools), { direct })
    const { messages } = await post(gateway.url, call('steps', {}, 1, 0))
    const told = messages.slice(0, -1).map((each) => each.params ?? {})
    expect(told.map((each) => each['message'])).toEqual([
      'Your sandbox is starting',
      'zero',
      undefined,
      'again',
      'back',
      'two',
    ])
    const values = told.map((each) => Number(each['progress']))
    expect(values).toEqual([0, 0.001, 1, 1.001, 1.002, 2])
    expect(told.every((each) => each['progressToken'] === 0)).toBe(true)
    expect(messages.at(-1)?.result).toEqual(text('done'))
  })
}

test('what a call waits for stays in the heartbeat until the tool speaks', async () => {
  const calls = scriptedCalls({
    async wait(_args, hooks) {
      hooks.waiting('Waiting for your sandbox')
      await pause(200, hooks.signal)
      hooks.progress(1, undefined, 'working')
      await pause(200, hooks.signal)
      return text('done')
    },
  })
  await using gateway = await startGateway(calls, { heartbeatMs: 60 })
  const { messages } = await post(gateway.url, call('wait', {}, 1, 'tok'))
  const told = messages
    .slice(0, -1)
    .map((each) => String(each.params?.['message']).replace(/ \(\d+ s\)$/, ''))
  expect([...new Set(told)]).toEqual(['Waiting for your sandbox', 'working'])
})

test('progress increases for any sequence of reports', () => {
  const report = fc.oneof(fc.double(), fc.integer(), fc.constant('wait' as const))
  fc.assert(
    fc.property(fc.array(report), (reports) => {
      const sent: number[] = []
      const progress = createProgress({
        token: 1,
        heartbeatMs: 60_000,
        send: (params) => sent.push(params.progress),
      })
      for (const each of reports) {
        if (each === 'wait') progress.waiting('w')
        else progress.progress(each, undefined, undefined)
      }
      progress.stop()
      progress.waiting('late')
      for (const [index, value] of sent.entries()) {
        expect(Number.isFinite(value)).toBe(true)
        expect(value).toBeGreaterThan(sent[index - 1] ?? -1)
      }
      expect(sent.length).toBeLessThanOrEqual(reports.length)
    }),
  )
})

test('what a 2025 client has no word for is put into its words', async () => {
  await using gateway = await startGateway(scriptedCalls(tools))
  const result = async (name: string) => (await post(gateway.url, call(name))).messages[0]?.result
  expect(await result('list')).toEqual({ ...text('[1]'), structuredContent: { result: [1] } })
  expect(await result('silent')).toEqual({ isError: true, content: [] })
  expect(await result('asks')).toMatchObject({ isError: true })
  const headers = modernHeaders('tools/call', 'list')
  const modern = await post(gateway.url, modernCall('list'), { headers })
  expect(modern.messages[0]?.result).toMatchObject({ structuredContent: [1] })
})

test('an error from below is a result in our words, and foreign text stays inside', async () => {
  await using gateway = await startGateway(scriptedCalls(tools))
  const crash = await post(gateway.url, call('crash'))
  expect(crash.messages[0]?.result).toMatchObject({ isError: true })
  expect(crash.body).not.toContain('hunter2')
  const refused = await post(gateway.url, call('refused'))
  expect(refused.messages[0]?.result).toEqual({
    ...text('Your sandbox is busy; try again in a minute.'),
    isError: true,
  })
})

test('absent arguments arrive as an empty object, and what the client calls itself is passed on', async () => {
  const calls = scriptedCalls(tools)
  await using gateway = await startGateway(calls)
  await post(gateway.url, call('echo'), { headers: { 'user-agent': `agent/1 ${'x'.repeat(200)}` } })
  await post(gateway.url, modernCall('echo'), { headers: modernHeaders('tools/call', 'echo') })
  expect(calls.requests.map((request) => request.arguments)).toEqual([{}, {}])
  expect(calls.requests[0]?.client).toMatch(/^agent\/1 x{92}$/)
  expect(calls.requests[1]?.client).toBe('wire 1')
})

test('a batch of calls is answered as a batch, and its cancellations count', async () => {
  const calls = scriptedCalls(tools)
  await using gateway = await startGateway(calls)
  const { messages, status } = await post(gateway.url, [call('echo', { a: 1 }, 1), call('nope', {}, 2)])
  expect(status).toBe(200)
  expect(messages.find((each) => each.id === 1)?.result).toMatchObject({ structuredContent: { a: 1 } })
  expect(messages.find((each) => each.id === 2)?.error?.code).toBe(-32602)
})

test('a body that would reach for prototypes is refused', async () => {
  const calls = scriptedCalls(tools)
  await using gateway = await startGateway(calls)
  const body = JSON.stringify(call('echo', {})).replace('"arguments":{}', '"arguments":{"__proto__":{"a":1}}')
  expect((await post(gateway.url, body)).status).toBe(400)
  expect(calls.requests).toEqual([])
})

test('a 2026 stream hears that tools changed, and ends with its token', async () => {
  const calls = scriptedCalls(tools)
  await using gateway = await startGateway(calls)
  const listen = {
    jsonrpc: '2.0',
    id: 'sub',
    method: 'subscriptions/listen',
    params: { _meta: envelope, notifications: { toolsListChanged: true } },
  }
  const headers = modernHeaders('subscriptions/listen')
  const response = await send(gateway.url, listen, { headers })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  expect((await reader?.read())?.value).toContain('notifications/subscriptions/acknowledged')
  const tell = (notice: Parameters<Parameters<typeof gateway.network.handlers.add>[0]>[0]) => {
    for (const handle of gateway.network.handlers) handle(notice)
  }
  tell({ kind: 'catalog' })
  expect((await reader?.read())?.value).toContain('notifications/tools/list_changed')
  tell({ kind: 'token', id: 'tok_bob_' })
  tell({ kind: 'token', id: 'tok_alice_' })
  await expect(reader?.read()).rejects.toThrow('terminated')

  const open: Response[] = []
  for (let count = 0; count < 32; count++) open.push(await send(gateway.url, listen, { headers }))
  expect(open.every((each) => each.status === 200)).toBe(true)
  expect((await post(gateway.url, listen, { headers })).status).toBe(429)
  expect((await send(gateway.url, listen, { headers, token: 'bob' })).status).toBe(200)
})
