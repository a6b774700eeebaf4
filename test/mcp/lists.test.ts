import { expect, test } from 'vitest'
import { startGateway } from '../support/mcp-gateway.ts'
import { envelope, modernHeaders, post } from '../support/mcp-wire.ts'
import { scriptedCalls, text } from '../support/scripted-calls.ts'

const rich = {
  name: 'Remote.Name',
  title: 'Rich',
  description: 'all of it',
  inputSchema: {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: { a: { $anchor: 'a', type: 'string' } },
    properties: {
      x: { $ref: '#/$defs/a', default: { 'x-mcp-header': 'data' } },
      'x-mcp-header': { type: 'string' },
    },
    allOf: [{ if: { required: ['x'] }, else: false }],
    vendor: [1],
  },
  outputSchema: { type: 'object', unevaluatedProperties: false },
  annotations: { readOnlyHint: true, futureHint: 3 },
  icons: [{ src: 'data:image/png;base64,aGk=', mimeType: 'image/png' }],
  _meta: { 'anthropic/maxResultSizeChars': 100 },
  somethingNew: { kept: true },
}

const method = (name: string, params: Record<string, unknown> = {}) => ({
  jsonrpc: '2.0',
  id: 1,
  method: name,
  params,
})

test('definitions pass verbatim under their alias, in both generations', async () => {
  await using gateway = await startGateway(scriptedCalls({ rich_tool: () => text('') }, { rich_tool: rich }))
  const old = await post(gateway.url, method('tools/list'))
  expect(old.messages[0]?.result).toEqual({ tools: [{ ...rich, name: 'rich_tool' }] })
  const now = await post(gateway.url, method('tools/list', { _meta: envelope }), {
    headers: modernHeaders('tools/list'),
  })
  expect(now.messages[0]?.result).toMatchObject({
    tools: [{ ...rich, name: 'rich_tool' }],
    ttlMs: 60_000,
    cacheScope: 'private',
    resultType: 'complete',
  })
})

test('an output schema that 2025 clients reject the whole list for is left out for them', async () => {
  const inputSchema = { type: 'object' }
  const listing = { name: 'n', inputSchema, outputSchema: { type: 'array' } }
  await using gateway = await startGateway(scriptedCalls({ n: () => text('') }, { n: listing }))
  const old = await post(gateway.url, method('tools/list'))
  expect(old.messages[0]?.result).toEqual({ tools: [{ name: 'n', inputSchema }] })
  const now = await post(gateway.url, method('tools/list', { _meta: envelope }), {
    headers: modernHeaders('tools/list'),
  })
  expect(now.messages[0]?.result?.['tools']).toEqual([listing])
})

test('a long list comes in pages that are always the same', async () => {
  const names = Array.from({ length: 25 }, (_, n) => `tool_${String(n).padStart(2, '0')}`)
  const calls = scriptedCalls(Object.fromEntries(names.map((name) => [name, () => text('')])))
  await using gateway = await startGateway(calls, { pageSize: 10 })
  const walk = async () => {
    const pages: string[][] = []
    let cursor: unknown
    do {
      const answer = await post(gateway.url, method('tools/list', cursor === undefined ? {} : { cursor }))
      const result = answer.messages[0]?.result ?? {}
      pages.push((result['tools'] as { name: string }[]).map((tool) => tool.name))
      cursor = result['nextCursor']
    } while (cursor !== undefined)
    return pages
  }
  const pages = await walk()
  expect(pages.map((page) => page.length)).toEqual([10, 10, 5])
  expect(pages.flat()).toEqual(names)
  expect(await walk()).toEqual(pages)
  for (const cursor of ['', 'x', 'YWZ0', Buffer.from('before:x').toString('base64url')]) {
    const answer = await post(gateway.url, method('tools/list', { cursor }))
    expect(answer.messages[0]?.error?.code).toBe(-32602)
  }
})

test('lists of things that there are none of are empty, and reading one is an error', async () => {
  await using gateway = await startGateway(scriptedCalls({}))
  const ask = async (name: string, params = {}) => (await post(gateway.url, method(name, params))).messages[0]
  expect((await ask('prompts/list'))?.result).toEqual({ prompts: [] })
  expect((await ask('resources/list'))?.result).toEqual({ resources: [] })
  expect((await ask('resources/templates/list'))?.result).toEqual({ resourceTemplates: [] })
  expect((await ask('resources/read', { uri: 'a://b' }))?.error?.code).toBe(-32602)
  expect((await ask('prompts/get', { name: 'p' }))?.error?.code).toBe(-32602)
  expect((await ask('nothing/at/all'))?.error?.code).toBe(-32601)
  expect((await ask('ping'))?.result).toEqual({})
})

test('server/discover names the 2026 revision and introduces the product', async () => {
  await using gateway = await startGateway(scriptedCalls({}))
  const answer = await post(gateway.url, method('server/discover', { _meta: envelope }), {
    headers: modernHeaders('server/discover'),
  })
  const { result } = answer.messages[0] ?? {}
  expect(result?.['supportedVersions']).toEqual(['2026-07-28'])
  expect(String(result?.['instructions'])).toContain('whoami')
  expect(answer.headers.get('mcp-session-id')).toBeNull()
})
