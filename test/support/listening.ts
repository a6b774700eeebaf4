import type { Server } from 'node:net'
import type { SecureContext } from 'node:tls'

/** A certificate for whatever name a client asks for. */
export function byServerName(contextFor: (host: string) => Promise<SecureContext>): {
  SNICallback: (name: string, done: (error: Error | null, context?: SecureContext) => void) => void
} {
  return {
    SNICallback: (name, done) => {
      contextFor(name).then(
        (context) => done(null, context),
        (error: unknown) => done(error as Error),
      )
    },
  }
}

/** Listens on a free port of loopback. */
export async function listenLocally(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
