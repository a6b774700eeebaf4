import {
  type ListToolsResult,
  ProtocolError,
  ProtocolErrorCode,
  ResourceNotFoundError,
  Server,
} from '@modelcontextprotocol/server'
import type { Exchange, McpDeps } from './options.ts'
import type { Era } from './results.ts'
import { toRpcError } from './rpc.ts'
import type { RunCall } from './run-call.ts'
import { listPage } from './tools-list.ts'

/**
 * The SDK's server for one HTTP request. Tools are served by the low-level handlers, because what a source says
 * must reach the client as it is; the kinds of thing that we have none of are answered with empty lists, which
 * some clients ask for whatever is declared.
 */
export function protocolServer(
  deps: Pick<McpDeps, 'calls' | 'log' | 'options'> & { runCall: RunCall },
  request: { exchange: Exchange; era: Era; mayCall: boolean },
): Server {
  const { calls, log, options, runCall } = deps
  const { exchange, era, mayCall } = request
  const modern = era === 'modern'
  const server = new Server(
    { name: options.name, version: options.version },
    {
      // A 2025 client has no stream on which we could tell it of a change.
      capabilities: { tools: { listChanged: modern }, prompts: {}, resources: {} },
      instructions: options.instructions,
    },
  )
  const cache = modern ? { ttlMs: options.listTtlMs, cacheScope: 'private' as const } : {}
  const rejecting = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      const { code, message, data } = toRpcError(error, log)
      throw new ProtocolError(code, message, data)
    }
  }

  server.setRequestHandler('tools/list', (message) =>
    rejecting(async () => {
      const visible = await calls.list(exchange.caller, exchange.toolkit)
      const page = listPage(visible, message.params?.cursor, options.pageSize, era)
      // Definitions are foreign data; the SDK's type for them is narrower than what may pass.
      return { ...page, ...cache } as unknown as ListToolsResult
    }),
  )
  server.setRequestHandler('prompts/list', () => ({ prompts: [], ...cache }))
  server.setRequestHandler('resources/list', () => ({ resources: [], ...cache }))
  server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: [], ...cache }))
  server.setRequestHandler('resources/read', (message) => {
    throw new ResourceNotFoundError(message.params.uri)
  })
  server.setRequestHandler('prompts/get', (message) => {
    throw new ProtocolError(ProtocolErrorCode.InvalidParams, `There is no prompt "${message.params.name}".`)
  })

  // The registered handler for tools/call would parse the result and drop what its schemas do not know; the
  // fallback passes it on. It is set only where a call can come, so that unknown methods keep their 404.
  if (mayCall) {
    server.fallbackRequestHandler = (message, ctx) => {
      if (message.method !== 'tools/call')
        throw new ProtocolError(ProtocolErrorCode.MethodNotFound, 'Method not found')
      const controller = new AbortController()
      const abort = () => controller.abort(ctx.mcpReq.signal.reason)
      if (ctx.mcpReq.signal.aborted) abort()
      else ctx.mcpReq.signal.addEventListener('abort', abort, { once: true })
      return rejecting(() =>
        runCall({
          exchange,
          era,
          id: message.id,
          params: message.params,
          controller,
          send(params) {
            ctx.mcpReq
              .notify({ method: 'notifications/progress', params })
              .catch((err: unknown) => log.debug({ err }, 'progress not sent'))
          },
        }),
      )
    }
  }
  return server
}
