import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * A loopback forwarder that adds a bearer token, for a client that cannot send headers. Everything else, Host
 * and Origin too, passes untouched and unbuffered.
 */
export async function startPassThrough(
  port: number,
  token: string,
): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer((incoming, outgoing) => {
    const forward = request(
      {
        host: '127.0.0.1',
        port,
        method: incoming.method,
        path: incoming.url,
        headers: { ...incoming.headers, authorization: `Bearer ${token}` },
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        outgoing.flushHeaders()
        answer.pipe(outgoing)
      },
    )
    incoming.pipe(forward)
    outgoing.on('close', () => forward.destroy())
    forward.on('error', () => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port: own } = server.address() as AddressInfo
  return {
    url: `http://localhost:${own}/mcp`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
