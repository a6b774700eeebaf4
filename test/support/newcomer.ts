import { silentLog } from '../../src/core/index.ts'
import { registerNewcomer } from '../../src/dev/index.ts'
import { createHttpServer } from '../../src/http/index.ts'
import { publicUrl, startSlackHouse } from './slack.ts'

/** The newcomer's page over a real app and an emulated Slack, on a loopback port. */
export async function startNewcomerPage(options: { warning?: string } = {}) {
  const stack = new AsyncDisposableStack()
  const house = stack.use(await startSlackHouse())
  const server = createHttpServer({
    log: silentLog,
    bodyLimit: 100_000,
    requestTimeoutMs: 30_000,
    trustedProxies: [],
    ready: async () => undefined,
  })
  stack.defer(async () => await server.close())
  registerNewcomer(server, {
    slack: house.slack,
    sender: house.sender,
    mcpUrl: `${publicUrl}/mcp`,
    ...options,
  })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  return { house, url, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}
