import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpServer } from './server.ts'

/** How long an answer that was just ended may take to reach its client. */
const lastBytesMs = 1_000

/**
 * Closes a server in order: nothing new comes in, what runs may end by itself for `graceMs`, then `endRunning` ends
 * it and its answers leave. Settles when every connection is gone.
 */
export async function closeServer(
  server: HttpServer,
  options: { graceMs: number; endRunning: () => Promise<void> },
): Promise<void> {
  const closed = server.close()
  // Node closes what is idle when it is told to close; a connection that becomes idle later would be kept alive.
  const sweep = setInterval(() => server.server.closeIdleConnections(), 50)
  await within(closed, options.graceMs)
  await options.endRunning()
  await within(closed, lastBytesMs)
  clearInterval(sweep)
  server.server.closeAllConnections()
  await closed
}

/** Waits for `work`, at most `ms`; leaves no timer behind. */
async function within(work: PromiseLike<unknown>, ms: number): Promise<void> {
  const stop = new AbortController()
  await Promise.race([work, sleep(ms, undefined, { signal: stop.signal }).catch(() => undefined)])
  stop.abort()
}
