/** orders: an example of tools over an HTTPS API that demands a key, in a program that has none; MCP on stdio. */
import { flushCompileCache } from 'node:module'
import { McpServer } from '@modelcontextprotocol/server'
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio'
import { z } from 'zod'
import { type Answer, ask } from './api.ts'

const server = new McpServer({ name: 'orders', version: '1.0.0' })

const result = ({ text, ok }: Answer) => ({
  content: [{ type: 'text' as const, text }],
  ...(!ok && { isError: true }),
})

server.registerTool(
  'list_orders',
  {
    title: 'List orders',
    description: 'Lists the orders of the shop.',
    inputSchema: z.object({}),
    annotations: { readOnlyHint: true, openWorldHint: true },
  },
  async () => result(await ask('GET', '')),
)

server.registerTool(
  'get_order',
  {
    title: 'Get an order',
    description: 'Returns one order by its id.',
    inputSchema: z.object({ id: z.string().min(1) }),
    annotations: { readOnlyHint: true, openWorldHint: true },
  },
  async ({ id }) => result(await ask('GET', `/${encodeURIComponent(id)}`)),
)

server.registerTool(
  'create_order',
  {
    title: 'Create an order',
    description: 'Orders a quantity of an item; returns the new order.',
    inputSchema: z.object({ item: z.string().min(1), quantity: z.number().int().min(1).max(1_000) }),
    annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: true },
  },
  async ({ item, quantity }) => result(await ask('POST', '', { item, quantity })),
)

await server.connect(new StdioServerTransport())
// Compiled code is kept at once: a sandbox may be ended without a last word.
flushCompileCache()
