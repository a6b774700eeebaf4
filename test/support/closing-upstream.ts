/**
 * A TLS server in a thread of its own, so that it goes on while the test's stands still: it says when a first piece has
 * come, and when told to it answers and resets the connection, as one does that closes with more unread.
 */
import { createServer } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import { parentPort, workerData } from 'node:worker_threads'

/** How far it is, one after the other. */
export const stage = { heard: 1, answers: 2, closed: 3 } as const

export interface ClosingUpstream {
  certificate: { cert: string; key: string }
  /** One number: how far it is. */
  at: Int32Array
  answer: string
}

if (parentPort !== null) {
  const { certificate, at, answer } = workerData as ClosingUpstream
  const secureContext = createSecureContext(certificate)
  // What waits for an acknowledgement is thrown away by a reset, and would never have left.
  const server = createServer({ noDelay: true }, (socket) => {
    const secured = new TLSSocket(socket, { isServer: true, secureContext })
    secured.on('error', () => undefined)
    socket.on('close', () => {
      Atomics.store(at, 0, stage.closed)
      Atomics.notify(at, 0)
    })
    secured.once('data', () => {
      Atomics.store(at, 0, stage.heard)
      Atomics.wait(at, 0, stage.heard)
      secured.write(answer, () => socket.resetAndDestroy())
    })
  })
  server.listen(0, '127.0.0.1', () => parentPort?.postMessage(server.address()))
}
