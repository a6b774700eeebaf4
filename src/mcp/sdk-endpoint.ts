import type { IncomingMessage, ServerResponse } from 'node:http'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { type AuthInfo, createMcpHandler } from '@modelcontextprotocol/server'
import { sendHeadersEarly } from './early-headers.ts'
import type { Exchange, McpDeps } from './options.ts'
import { protocolServer } from './protocol-server.ts'
import { methodOf } from './rpc.ts'
import type { RunCall } from './run-call.ts'

export interface SdkEndpoint {
  /** Serves one authenticated POST of either generation; `label` goes out with a successful `initialize`. */
  serve(
    request: { raw: IncomingMessage; body: unknown },
    response: ServerResponse,
    exchange: Exchange,
    label: string | undefined,
  ): void
  /** Tells every open subscription that its tools may have changed. */
  toolsChanged(): void
  close(): Promise<void>
}

/** The SDK's endpoint for both generations, without sessions: a fresh server for every request. */
export function createSdkEndpoint(
  deps: Pick<McpDeps, 'calls' | 'log' | 'options'> & { runCall: RunCall },
): SdkEndpoint {
  const { log, options } = deps
  const contexts = new WeakMap<AuthInfo, { exchange: Exchange; mayCall: boolean }>()
  const handler = createMcpHandler(
    ({ authInfo, era }) => {
      const context = authInfo === undefined ? undefined : contexts.get(authInfo)
      if (context === undefined) throw new Error('a request reached the protocol without a proven caller')
      return protocolServer(deps, { ...context, era })
    },
    {
      legacy: 'stateless',
      responseMode: 'sse',
      keepAliveMs: options.heartbeatMs,
      // Counted per person instead (subscriptions.ts).
      maxSubscriptions: 100_000,
      maxRequestBodySize: options.bodyLimit,
      onerror: (err) => log.debug({ err }, 'mcp protocol error'),
    },
  )
  const node = toNodeHandler(handler, { onerror: (err) => log.error({ err }, 'mcp request failed') })

  return {
    serve({ raw, body }, response, exchange, label) {
      // The token itself stays outside the SDK.
      const auth: AuthInfo = { token: '', clientId: exchange.caller.principalId, scopes: [] }
      contexts.set(auth, { exchange, mayCall: Array.isArray(body) || methodOf(body) === 'tools/call' })
      sendHeadersEarly(response, (ok) => {
        if (label !== undefined) ok.setHeader('mcp-session-id', label)
      })
      node(Object.assign(raw, { auth, method: 'POST', url: raw.url ?? '/' }), response, body).catch(
        (err: unknown) => {
          log.error({ err }, 'mcp request failed')
          response.destroy()
        },
      )
    },
    toolsChanged: () => handler.notify.toolsChanged(),
    close: () => handler.close(),
  }
}
