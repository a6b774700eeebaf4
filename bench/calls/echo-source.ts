// The one stdio source that every contestant serves: a bare SDK v2 server with one `echo` tool.
import { McpServer } from '@modelcontextprotocol/server'
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio'
import { registerEcho } from './echo-tool.ts'

const server = new McpServer({ name: 'echo', version: '1.0.0' })
registerEcho(server)
await server.connect(new StdioServerTransport())
