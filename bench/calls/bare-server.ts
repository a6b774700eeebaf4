// Contestant (a): the SDK alone. The tool runs in the HTTP server's own process; nothing is checked or recorded.

import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { NodeStreamableHTTPServerTransport } from '@modelcontextprotocol/node'
import { McpServer } from '@modelcontextprotocol/server'
import { registerEcho } from './echo-tool.ts'

const sessions = new Map<string, NodeStreamableHTTPServerTransport>()

const server = createServer((request, response) => {
  void (async () => {
    const known = sessions.get(String(request.headers['mcp-session-id']))
    if (known !== undefined) return await known.handleRequest(request, response)
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, transport),
    })
    const mcp = new McpServer({ name: 'echo', version: '1.0.0' })
    registerEcho(mcp)
    await mcp.connect(transport)
    await transport.handleRequest(request, response)
  })()
})
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.stdout.write('ready\n'))
