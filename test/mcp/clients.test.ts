import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { expect, test } from 'vitest'
import { startGateway } from '../support/mcp-gateway.ts'
import { runTool } from '../support/run-tool.ts'
import { pause, type ScriptedTool, scriptedCalls, text } from '../support/scripted-calls.ts'

const identity = { name: 'test-client', version: '9.9' }
const headers = (token = 'alice') => ({ requestInit: { headers: { authorization: `Bearer ${token}` } } })
const tools: Record<string, ScriptedTool> = {
  echo: (args) => text(`echo ${String(args['text'])}`),
  async slow(_args, hooks) {
    hooks.waiting('Your sandbox is starting')
    await pause(400, hooks.signal)
    return text('slow done')
  },
  async never(_args, hooks) {
    await pause(60_000, hooks.signal)
    return text('never')
  },
}

async function settled(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 100 && !condition(); tries++)
    await new Promise((resolve) => setTimeout(resolve, 20))
}

test('an SDK v1 client lists, calls, sees progress and cancels', async () => {
  const calls = scriptedCalls(tools)
  await using gateway = await startGateway(calls, { heartbeatMs: 100 })
  const client = new ClientV1(identity)
  const transport = new HttpV1(new URL(gateway.url), headers())
  await client.connect(transport as Transport)
  expect(client.getServerVersion()?.name).toBe('toolcrib')
  expect(client.getInstructions()).toContain('whoami')
  expect(transport.sessionId).toMatch(/^tcs\./)
  expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(['echo', 'never', 'slow'])
  const result = await client.callTool({ name: 'echo', arguments: { text: 'v1' } })
  expect(result).toMatchObject(text('echo v1'))

  const seen: { progress: number; message?: string | undefined }[] = []
  await client.callTool({ name: 'slow' }, undefined, { onprogress: (progress) => seen.push(progress) })
  expect(seen.length).toBeGreaterThan(2)
  expect(seen[0]?.message).toBe('Your sandbox is starting')
  const values = seen.map((each) => each.progress)
  expect(values).toEqual([...new Set(values)].sort((a, b) => a - b))

  const abort = new AbortController()
  const call = client.callTool({ name: 'never' }, undefined, { signal: abort.signal })
  await settled(() => calls.requests.at(-1)?.alias === 'never')
  abort.abort()
  await expect(call).rejects.toThrow(/abort|cancel/i)
  await settled(() => calls.aborted.length > 0)
  expect(calls.aborted).toEqual(['never'])
  expect(calls.requests[0]?.client).toBe('test-client 9.9')

  await transport.terminateSession()
  await client.close()
})

for (const mode of ['legacy', 'auto', { pin: '2026-07-28' }] as const) {
  const label = typeof mode === 'string' ? mode : mode.pin
  test(`an SDK v2 client in mode ${label} lists, calls, sees progress and cancels`, async () => {
    const calls = scriptedCalls(tools)
    await using gateway = await startGateway(calls, { heartbeatMs: 100 })
    const client = new ClientV2(identity, { versionNegotiation: { mode } })
    await client.connect(new HttpV2(new URL(gateway.url), headers()))
    expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(['echo', 'never', 'slow'])
    const result = await client.callTool({ name: 'echo', arguments: { text: label } })
    expect(result).toMatchObject(text(`echo ${label}`))
    expect(calls.requests[0]?.client).toBe('test-client 9.9')

    const seen: (string | undefined)[] = []
    await client.callTool({ name: 'slow' }, { onprogress: (progress) => seen.push(progress.message) })
    expect(seen[0]).toBe('Your sandbox is starting')
    expect(seen.length).toBeGreaterThan(2)

    const abort = new AbortController()
    const call = client.callTool({ name: 'never' }, { signal: abort.signal })
    await settled(() => calls.requests.at(-1)?.alias === 'never')
    abort.abort()
    await expect(call).rejects.toThrow(/abort|cancel/i)
    await settled(() => calls.aborted.length > 0)
    expect(calls.aborted).toEqual(['never'])
    await client.close()
  })
}

for (const era of ['legacy', 'modern'] as const) {
  test(`Inspector's command line calls a tool in its ${era} era`, async () => {
    await using gateway = await startGateway(scriptedCalls(tools))
    const inspect = (...args: string[]) =>
      runTool('mcp-inspector', [
        '--cli',
        gateway.url,
        '--transport',
        'http',
        '--header',
        'Authorization: Bearer alice',
        '--protocol-era',
        era,
        ...args,
      ])
    const listed = await inspect('--method', 'tools/list')
    expect([listed.code, listed.stderr]).toEqual([0, expect.any(String)])
    expect(listed.stdout).toContain('"echo"')
    const called = await inspect('--method', 'tools/call', '--tool-name', 'echo', '--tool-arg', 'text=hi')
    expect([called.code, called.stderr]).toEqual([0, expect.any(String)])
    expect(called.stdout).toContain('echo hi')
  }, 60_000)
}

test("Inspector's command line shows our own text for an expired token", async () => {
  await using gateway = await startGateway(scriptedCalls(tools))
  const run = await runTool('mcp-inspector', [
    '--cli',
    gateway.url,
    '--transport',
    'http',
    '--method',
    'tools/list',
    '--header',
    'Authorization: Bearer bad-expired',
  ])
  expect(run.code).not.toBe(0)
  expect(run.stdout + run.stderr).toContain('/mcp-token')
}, 60_000)

test('mcp-remote serves a client that knows stdio only', async () => {
  await using gateway = await startGateway(scriptedCalls(tools))
  const bin = new URL('../../node_modules/.bin/mcp-remote', import.meta.url).pathname
  const client = new ClientV1(identity)
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [bin, gateway.url, '--transport', 'http-only', '--header', 'Authorization: Bearer ${TOK}'],
    env: { ...(process.env as Record<string, string>), TOK: 'alice' },
    stderr: 'ignore',
  })
  await client.connect(transport)
  expect((await client.listTools()).tools.map((tool) => tool.name)).toContain('echo')
  const result = await client.callTool({ name: 'echo', arguments: { text: 'remote' } })
  expect(result).toMatchObject(text('echo remote'))
  await client.close()
}, 60_000)

test('invariant 5: a token that ended in mid-session is refused on the next request, and the client reads why', async () => {
  await using gateway = await startGateway(scriptedCalls(tools))
  let token = 'alice'
  const client = new ClientV1(identity)
  const withToken: typeof fetch = (input, init) => {
    const sent = new Headers(init?.headers)
    sent.set('authorization', `Bearer ${token}`)
    return fetch(input, { ...init, headers: sent })
  }
  await client.connect(new HttpV1(new URL(gateway.url), { fetch: withToken }) as Transport)
  token = 'bad-revoked'
  const result = await client.callTool({ name: 'echo' })
  expect(result.isError).toBe(true)
  expect(JSON.stringify(result.content)).toContain('/mcp-token')
  await client.close()
})
