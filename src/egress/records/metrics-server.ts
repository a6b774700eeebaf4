import type { AddressInfo } from 'node:net'
import type { Log } from '../../core/index.ts'
import { createHttpServer, listenAt } from '../../http/index.ts'
import type { Metrics } from './metrics.ts'

/**
 * Serves `/metrics`, `/healthz` and `/readyz` at an address of their own, for whoever watches the proxy; there is
 * nothing secret in them. Throws `conflict` with the reason when it cannot listen.
 */
export async function serveMetrics(options: {
  host: string
  port: number
  metrics: Metrics
  /** Throws while the proxy lets nothing out. */
  ready: () => Promise<void>
  log: Log
}): Promise<{ address: string; port: number } & AsyncDisposable> {
  const server = createHttpServer({
    log: options.log,
    bodyLimit: 1024,
    requestTimeoutMs: 10_000,
    trustedProxies: [],
    ready: options.ready,
  })
  server.get('/metrics', async (_request, reply) => {
    void reply.header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
    return await options.metrics.text()
  })
  await listenAt(
    server,
    { host: options.host, port: options.port },
    {
      setting: 'egress.metrics',
      cure: 'end what listens there, perhaps another `toolcrib egress`, or name another port',
    },
  )
  const { address, port } = server.server.address() as AddressInfo
  return {
    address,
    port,
    async [Symbol.asyncDispose]() {
      server.server.closeAllConnections()
      await server.close()
    },
  }
}
