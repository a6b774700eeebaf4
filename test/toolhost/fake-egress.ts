import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

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
  const openssl = (...args: string[]) => run('openssl', args)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.pem'),
    '-days',
    '2',
    '-subj',
    '/CN=crib test CA',
  )
  await openssl('req', ...key, '-keyout', file('leaf.key'), '-out', file('leaf.csr'), '-subj', '/CN=orders')
  await writeFile(file('leaf.ext'), 'subjectAltName=DNS:orders.crib.test\n')
  await openssl(
    'x509',
    '-req',
    '-in',
    file('leaf.csr'),
    '-CA',
    file('ca.pem'),
    '-CAkey',
    file('ca.key'),
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    file('leaf.ext'),
    '-out',
    file('leaf.pem'),
  )
  const inner = createTlsServer(
    { key: await readFile(file('leaf.key')), cert: await readFile(file('leaf.pem')) },
    (request, response) => {
      let body = ''
      request.setEncoding('utf8')
      request.on('data', (part: string) => {
        body += part
      })
      request.once('end', () => respond(request, body, response))
    },
  )
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
