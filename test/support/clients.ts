import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { runTool } from './run-tool.ts'

export interface Result {
  content: { type: string; text?: string; data?: string; mimeType?: string }[]
  structuredContent?: unknown
  isError?: boolean
}

/** What any client can do, whichever it is. */
export interface AnyClient {
  list(): Promise<string[]>
  call(name: string, args?: Record<string, unknown>): Promise<Result>
  [Symbol.asyncDispose](): Promise<void>
}

export type Connect = (url: string, token: string) => Promise<AnyClient>

const identity = { name: 'journey', version: '1.0' }
const bearer = (token: string) => ({ requestInit: { headers: { authorization: `Bearer ${token}` } } })
/** No client's own patience shall decide a test. */
const patience = { timeout: 180_000, maxTotalTimeout: 180_000 }

export const connectV1 = async (url: string, token: string) => {
  const client = new ClientV1(identity)
  const transport = new HttpV1(new URL(url), bearer(token))
  await client.connect(transport as Transport)
  return { ...overV1(client), client, transport }
}

export const connectV2 =
  (mode: 'legacy' | 'auto' | { pin: '2026-07-28' }): Connect =>
  async (url, token) => {
    const client = new ClientV2(identity, { versionNegotiation: { mode } })
    await client.connect(new HttpV2(new URL(url), bearer(token)))
    return {
      list: async () => (await client.listTools()).tools.map((tool) => tool.name),
      call: async (name, args = {}) => (await client.callTool({ name, arguments: args }, patience)) as Result,
      [Symbol.asyncDispose]: async () => await client.close(),
    }
  }

/** An SDK v1 client that knows stdio only, behind npm's `mcp-remote`. */
export const connectMcpRemote: Connect = async (url, token) => {
  const bin = new URL('../../node_modules/.bin/mcp-remote', import.meta.url).pathname
  const client = new ClientV1(identity)
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [bin, url, '--transport', 'http-only', '--header', 'Authorization: Bearer ${TOKEN}'],
      env: { ...(process.env as Record<string, string>), TOKEN: token },
      stderr: 'ignore',
    }),
  )
  return overV1(client)
}

/** MCP Inspector's command line: a process and a session for each question. */
export const connectInspector: Connect = async (url, token) => {
  const ask = async (...args: string[]) => {
    const header = `Authorization: Bearer ${token}`
    const run = await runTool('mcp-inspector', [
      '--cli',
      url,
      '--transport',
      'http',
      '--header',
      header,
      ...args,
    ])
    if (run.code !== 0) throw new Error(`the Inspector failed: ${run.stderr}`)
    return JSON.parse(run.stdout) as unknown
  }
  return {
    list: async () =>
      ((await ask('--method', 'tools/list')) as { tools: { name: string }[] }).tools.map(({ name }) => name),
    call: async (name, args = {}) => {
      const given = Object.entries(args).flatMap(([key, value]) => ['--tool-arg', `${key}=${String(value)}`])
      return (await ask('--method', 'tools/call', '--tool-name', name, ...given)) as Result
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}

function overV1(client: ClientV1): AnyClient {
  return {
    list: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: async (name, args = {}) =>
      (await client.callTool({ name, arguments: args }, undefined, patience)) as Result,
    [Symbol.asyncDispose]: async () => await client.close(),
  }
}

/** All text of a result. */
export const textOf = (result: Result) => result.content.map(({ text }) => text ?? '').join('\n')
