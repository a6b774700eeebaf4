/** A TLS server on loopback that writes what it is told, byte for byte, once something has come. It lies at will. */
import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:tls'
import { createLeaves, generateAuthority, importAuthority } from '../../src/egress/keys/certificates.ts'
import { makeWorld, type World } from './egress-world.ts'

export interface RawUpstream extends AsyncDisposable {
  port: number
  /** What came first on each connection. */
  heads: string[]
}

export interface RawWorld extends AsyncDisposable {
  world: World
  start: (
    answer: (socket: Socket, head: string) => void,
    options?: { name?: string; at?: number },
  ) => Promise<RawUpstream>
}

/** A world whose proxy trusts (or not) an authority that signs for raw upstreams. */
export async function makeRawWorld(
  options: Parameters<typeof makeWorld>[0] & { trusted?: boolean } = {},
): Promise<RawWorld> {
  const { trusted = true, ...rest } = options
  const { certificatePem, keyPem } = await generateAuthority(Date.now())
  const authority = await importAuthority(certificatePem, keyPem)
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await makeWorld({ ...rest, ...(trusted ? { trustedCas: [certificatePem] } : {}) }))
  const resources = stack.move()
  return {
    world,
    async start(answer, { name = 'orders.example.com', at = Date.now() } = {}) {
      const leaves = await createLeaves({ authority, now: () => at, cacheSize: 5 })
      const context = await leaves.contextFor(name)
      const heads: string[] = []
      const sockets = new Set<Socket>()
      const server = createServer({ SNICallback: (_name, done) => done(null, context) }, (socket) => {
        sockets.add(socket)
        socket.on('error', () => undefined)
        socket.once('data', (chunk: Buffer) => {
          heads.push(chunk.toString('latin1'))
          answer(socket, chunk.toString('latin1'))
        })
      })
      server.on('tlsClientError', () => undefined)
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const started: RawUpstream = {
        port: (server.address() as AddressInfo).port,
        heads,
        async [Symbol.asyncDispose]() {
          for (const socket of sockets) socket.destroy()
          await new Promise((resolve) => server.close(resolve))
        },
      }
      resources.use(started)
      return started
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}
