import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { lookEveryMs } from './overstay.ts'

/** Finds connections by HTTP/2 that broke without anybody hearing of it. */
export interface BreakWatch {
  /** Tells `broken`, once, within some two seconds after its other end was found to be gone. */
  watch(secured: TLSSocket, broken: () => void): void
  close(): void
}

/**
 * Where the system refuses what Node's TLS has to write, Node forgets to say so, and keeps all that is written after it
 * for a write that never ends. HTTP/2 reads nothing while it waits for that, so that it does not see the end either:
 * a client that died while it was sending would be waited for until it had idled.
 */
export function createBreakWatch(): BreakWatch {
  const watched = new Map<TLSSocket, { broken: () => void; stoodAt: number | undefined }>()
  const timer = setInterval(() => {
    for (const [secured, one] of watched) {
      const before = one.stoodAt
      one.stoodAt = standsAt(secured)
      if (one.stoodAt === undefined || one.stoodAt !== before) continue
      watched.delete(secured)
      one.broken()
    }
  }, lookEveryMs).unref()
  return {
    watch(secured, broken) {
      watched.set(secured, { broken, stoodAt: undefined })
      secured.once('close', () => watched.delete(secured))
    },
    close: () => clearInterval(timer),
  }
}

/** As much as Node tells of a connection's handle, which its types leave out. */
interface Handled {
  _handle?: { writeQueueSize: number } | null
  _parent?: Socket & Handled
}

/**
 * How many bytes had left when there were others that TLS has made ready and nobody writes; undefined where there are
 * none. A client that does not read has them wait below TLS.
 */
function standsAt(secured: TLSSocket & Handled): number | undefined {
  const below = secured._parent
  const ready = secured._handle?.writeQueueSize ?? 0
  return ready > 0 && below?._handle?.writeQueueSize === 0 ? below.bytesWritten : undefined
}
