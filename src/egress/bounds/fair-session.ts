import type { Http2Session } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { Part } from './loop-share.ts'
import { msPerByte, msPerPiece } from './work.ts'

/** What is done is told by so many ms. */
const atLeastMs = 0.1

/** As much as Node tells of a connection's handle, which its types leave out. */
interface Handled {
  _handle?: { readStart(): void; readStop(): void } | null
}

/**
 * Has `session`, which is on `secured`, read no more than the share of its person allows; what is returned is to be told
 * of each piece of a body that comes. Node has a session take its bytes past everybody, and all that come: only the
 * connection as a whole can be held, behind what was read with the piece, which is 64 KiB at most. The session starts it
 * again behind some of its own writes; that is noticed with the pieces that come then.
 */
export function readSessionFairly(
  session: Http2Session,
  secured: TLSSocket & Handled,
  part: Part,
): (bytes: number) => void {
  const reader = {
    hold: () => secured._handle?.readStop(),
    release: () => secured._handle?.readStart(),
  }
  session.once('close', part.join(reader))
  let untold = 0
  return (bytes) => {
    untold += msPerPiece + bytes * msPerByte
    if (untold < atLeastMs) return
    const now = performance.now()
    part.took(untold, now)
    untold = 0
    if (!part.isFree(now)) part.hold(reader)
  }
}
