import type { McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'

const input = z.object({ text: z.string() })

/** The tool under test: answers with what it was sent, so that every answer can be checked. */
export function registerEcho(server: McpServer): void {
  server.registerTool('echo', { description: 'Echoes a text', inputSchema: input }, ({ text }) => ({
    content: [{ type: 'text', text }],
  }))
}
