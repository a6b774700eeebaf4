import type { Socket } from 'node:net'
import { type Duplex, Transform } from 'node:stream'

/** How long a client may take to close its end once everything is over. */
const lingerMs = 5_000

/**
 * Joins two connections through what is done to the bytes of each, until either ends, breaks or nothing has passed for
 * `idleMs`. `ended` is told once: null where `complete` says that it was meant to end there.
 */
export function join<Failure extends string>(options: {
  client: Duplex
  upstream: Socket
  outward: Transform
  inward: Transform
  idleMs: number
  complete: () => boolean
  /** What an error of one of the two transforms means. */
  broken: (error: Error, side: 'client' | 'upstream') => Failure
  ended: (failure: Failure | 'client_closed' | 'upstream_failed' | 'upstream_timeout' | null) => void
}): { end(failure: Failure): void } {
  const { client, upstream, outward, inward, complete, broken } = options
  let over = false
  const end = (failure: Parameters<typeof options.ended>[0]) => {
    if (over) return
    over = true
    upstream.destroy()
    if (failure === null) {
      // What has been passed on may still be on its way to the client, the last of it above all.
      client.unpipe(outward)
      client.resume()
      client.end()
      setTimeout(() => client.destroy(), lingerMs).unref()
    } else client.destroy()
    options.ended(failure)
  }
  outward.on('error', (error) => end(broken(error, 'client')))
  inward.on('error', (error) => end(broken(error, 'upstream')))
  upstream.on('error', () => end(complete() ? null : 'upstream_failed'))
  client.on('error', () => end(complete() ? null : 'client_closed'))
  client.on('close', () => end(complete() ? null : 'client_closed'))
  // What came before its end may still be on its way through.
  inward.on('end', () => end(complete() ? null : 'upstream_failed'))
  upstream.on('close', () => {
    if (!upstream.readableEnded) end(complete() ? null : 'upstream_failed')
  })
  upstream.setTimeout(options.idleMs, () => end('upstream_timeout'))
  upstream.pipe(inward).pipe(client, { end: false })
  client.pipe(outward).pipe(upstream)
  return { end }
}

/** What is done to the bytes of one side: `push` passes some on, a throw ends both. */
export function through(step: (chunk: Buffer, push: (bytes: Buffer) => void) => void): Transform {
  const made = new Transform({
    transform(chunk: Buffer, _, done) {
      try {
        step(chunk, (bytes) => void made.push(bytes))
        done()
      } catch (error) {
        done(error as Error)
      }
    },
  })
  return made
}
