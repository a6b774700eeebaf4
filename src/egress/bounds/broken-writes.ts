import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Rounds } from './rounds.ts'

/**
 * Tells `broken`, once, within some two seconds after the other end of a connection by HTTP/2 was found to be gone.
 *
 * Where the system refuses what Node's TLS has to write, Node forgets to say so, and keeps all that is written after it
 * for a write that never ends. HTTP/2 reads nothing while it waits for that, so that it does not see the end either:
 * a client that died while it was sending would be waited for until it had idled.
 */
export function watchForBreak(rounds: Rounds, secured: TLSSocket, broken: () => void): void {
  let stoodAt: number | undefined
  const leave = rounds.watch(() => {
    const before = stoodAt
    stoodAt = standsAt(secured)
    if (stoodAt === undefined || stoodAt !== before) return false
    broken()
    return true
  })
  secured.once('close', leave)
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
