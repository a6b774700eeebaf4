import { writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { demoCertificate } from '../../src/dev/demo-certificate.ts'

export interface FakeEgress extends AsyncDisposable {
  socketPath: string
  caFile: string
  /** `user:password` and target of every CONNECT. */
  connects: { identity: string; target: string }[]
  /** Refuse tunnels from now on. */
  refuseTunnels(): void
}

/**
 * Lies: decides nothing and knows no lease. It terminates TLS for orders.crib.test with a CA of its own, as the
 * egress proxy does, and `respond` answers the inner request in the upstream's place.
 */
export async function startFakeEgress(
  folder: string,
  respond: (request: IncomingMessage, body: string, response: ServerResponse) => void,
): Promise<FakeEgress> {
  const file = (name: string) => join(folder, name)
  const made = await demoCertificate('orders.crib.test')
  await writeFile(file('ca.pem'), made.ca)
  const inner = createTlsServer({ key: made.key, cert: made.certificate }, (request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (part: string) => {
      body += part
    })
    request.once('end', () => respond(request, body, response))
  })
  const connects: FakeEgress['connects'] = []
  let refusing = false
  const outer = createHttpServer()
  outer.on('connect', (request, socket) => {
    const [, credentials = ''] = (request.headers['proxy-authorization'] ?? '').split(' ')
    connects.push({
      identity: Buffer.from(credentials, 'base64').toString('utf8'),
      target: request.url ?? '',
    })
    if (refusing) return socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n')
    socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
    inner.emit('connection', socket)
  })
  const socketPath = file('egress.sock')
  await new Promise<void>((resolve) => outer.listen(socketPath, resolve))
  return {
    socketPath,
    caFile: file('ca.pem'),
    connects,
    refuseTunnels() {
      refusing = true
    },
    async [Symbol.asyncDispose]() {
      inner.closeAllConnections()
      outer.closeAllConnections()
      await new Promise((resolve) => outer.close(resolve))
    },
  }
}
