import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { startGateway } from '../../support/mcp-gateway.ts'
import { call, modernCall, modernHeaders, post, send } from '../../support/mcp-wire.ts'
import { scriptedCalls, text } from '../../support/scripted-calls.ts'

/**
 * Messages of MCP that two parsers could read as two. The egress proxy does not read MCP: what a tool may be called
 * is decided by the gateway before a sandbox hears of it, so it is tried there, on the endpoint that clients speak to.
 */
const made = () => {
  /** Tools that ran, in order. */
  const ran: string[] = []
  const tool = (name: string) => () => {
    ran.push(name)
    return text(name)
  }
  return { calls: scriptedCalls({ safe: tool('safe'), danger: tool('danger') }), ran }
}
const safe = JSON.stringify(call('safe', {}))

test('row 36: a key that stands twice, or in other letters, never makes another call than the one that was judged', async () => {
  const { calls, ran } = made()
  await using gateway = await startGateway(calls)
  const bodies = [
    safe.replace('"name":"safe"', '"name":"safe","name":"danger"'),
    safe.replace('"name":"safe"', '"name":"danger","name":"safe"'),
    safe.replace('"name":"safe"', '"name":"safe","Name":"danger"'),
    safe.replace('"name":"safe"', '"name":"safe","NAME":"danger"'),
    safe.replace('"method":', '"Method":"ping","method":'),
    safe.replace('"params":', '"params":{"name":"danger"},"params":'),
    safe.replace('"safe"', '"s\\u0061fe"'),
  ]
  for (const body of bodies) {
    const before = ran.length
    const { messages, status } = await post(gateway.url, body)
    // What JSON.parse makes of it is what is judged and what is called: one reading, or none.
    const read = (JSON.parse(body) as { params: { name: string } }).params.name
    expect([body, status === 200 ? [read] : []]).toEqual([body, ran.slice(before)])
    expect(messages).toHaveLength(1)
  }
})

test('row 36: a body that is no plain JSON in UTF-8 is refused: other types, UTF-16, a byte order mark, gzip', async () => {
  const { calls, ran } = made()
  await using gateway = await startGateway(calls)
  const types = [
    'text/plain',
    'application/x-www-form-urlencoded',
    'text/json',
    'multipart/form-data',
    'application/json-rpc',
  ]
  for (const type of types) {
    const { status } = await post(gateway.url, safe, { headers: { 'content-type': type } })
    expect([type, status]).toEqual([type, 415])
  }
  const raw = async (body: Buffer, headers: Record<string, string> = {}) => {
    const response = await fetch(gateway.url, {
      method: 'POST',
      headers: {
        accept: 'application/json, text/event-stream',
        authorization: 'Bearer alice',
        'content-type': 'application/json',
        ...headers,
      },
      body: new Uint8Array(body),
    })
    await response.text()
    return response.status
  }
  expect(await raw(gzipSync(safe), { 'content-encoding': 'gzip' })).toBeGreaterThanOrEqual(400)
  expect(await raw(gzipSync(safe))).toBe(400)
  expect(await raw(Buffer.from(safe, 'utf16le'))).toBe(400)
  expect(
    await raw(Buffer.from(safe, 'utf16le'), { 'content-type': 'application/json; charset=utf-16' }),
  ).toBeGreaterThanOrEqual(400)
  expect(await raw(Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(safe, 'utf16le')]))).toBe(400)
  const marked = ran.length
  const status = await raw(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(safe)]))
  expect(ran.length - marked).toBe(status === 200 ? 1 : 0)
  expect(ran.every((name) => name === 'safe')).toBe(true)
})

test('row 36: each call of a batch is judged for itself, and one that is not known runs no other', async () => {
  const { calls, ran } = made()
  await using gateway = await startGateway(calls)
  const { messages } = await post(gateway.url, [
    call('safe', {}, 1),
    call('nothing', {}, 2),
    { jsonrpc: '2.0', id: 3, method: 'tools/evil' },
  ])
  expect(messages.find((each) => each.id === 1)?.result).toBeDefined()
  expect(messages.find((each) => each.id === 2)?.error?.code).toBe(-32602)
  expect(messages.find((each) => each.id === 3)?.error?.code).toBe(-32601)
  expect(ran).toEqual(['safe'])
})

test('row 36: a name in other letters is another tool, and an id of any size comes back as it was or not at all', async () => {
  const { calls, ran } = made()
  await using gateway = await startGateway(calls)
  for (const name of [
    'SAFE',
    's\u0430fe',
    'safe\u0000',
    'safe ',
    ' safe',
    'sa\u200dfe',
    '\uff53afe',
    'danger/../safe',
    '__proto__',
  ]) {
    const { messages } = await post(gateway.url, call(name, {}))
    expect([name, messages[0]?.error?.code]).toEqual([name, -32602])
  }
  expect(ran).toEqual([])
  for (const id of ['x'.repeat(100_000), '\u202e\u0000', -1, Number.MAX_SAFE_INTEGER]) {
    const { messages } = await post(gateway.url, call('safe', {}, id))
    expect([id, null]).toContain(messages[0]?.id)
  }
  const rounded = await post(gateway.url, safe.replace('"id":1', '"id":90071992547409931234'))
  expect(rounded.status === 400 || rounded.messages[0]?.id !== 1).toBe(true)
})

test('row 36: headers of the 2026 revision that say another call than the body are refused with -32020', async () => {
  const { calls, ran } = made()
  await using gateway = await startGateway(calls)
  const body = modernCall('danger', {})
  const wrong = [
    modernHeaders('tools/call', 'safe'),
    modernHeaders('tools/list', 'danger'),
    modernHeaders('tools/call', 'DANGER'),
    modernHeaders('ping'),
  ]
  for (const headers of wrong) {
    const { messages } = await post(gateway.url, body, { headers })
    expect([headers, messages[0]?.error?.code]).toEqual([headers, -32020])
  }
  expect(ran).toEqual([])
  const right = await send(gateway.url, body, { headers: modernHeaders('tools/call', 'danger') })
  await right.text()
  expect(ran).toEqual(['danger'])
})
