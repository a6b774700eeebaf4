/**
 * mcp: the endpoint that agents talk to: `/mcp` and `/mcp/toolkits/:slug`, both protocol generations on each.
 * It proves who calls on every request, before anything else; it keeps no session, so that a restart is
 * invisible; and it passes definitions, arguments and results through unharmed. What may be called, and what
 * comes of it, is decided in the rooms below.
 */
export { type McpOptions, mcpDefaults } from './options.ts'
export { registerMcp } from './register.ts'
