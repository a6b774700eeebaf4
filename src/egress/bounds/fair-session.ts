import type { Http2Session } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import type { Part } from './loop-share.ts'
import { msPerByte, msPerFramingByte, msPerPiece } from './work.ts'

/** What is done is told by so many ms. */
const atLeastMs = 0.1
/** And no more at once of what nobody told of: it may have been read at any time since the last look. */
const atMostMs = 10

/** As much as Node tells of a connection's handle, which its types leave out. */
interface Handled {
  _handle?: { readStart(): void; readStop(): void } | null
}

/** What a session has brought, as it is told of. */
export interface Came {
  /** A piece of a body. */
  piece: (bytes: number) => void
  /** What else is worth so many ms. */
  worked: (ms: number) => void
}

/**
 * Has `session`, which is on `secured`, read no more than the share of its person allows; what is returned is to be told
 * of what comes. Node has a session take its bytes past everybody, and all that come: only the connection as a whole can
 * be held, by its handle, behind what was read with a piece, which is 64 KiB at most. The session starts it again behind
 * some of its own writes; that is noticed with the pieces that come then. Of most frames that are no pieces Node tells
 * nobody: how many bytes they were is looked at now and then.
 */
export function readSessionFairly(session: Http2Session, secured: TLSSocket & Handled, part: Part): Came {
  let untold = 0
  let looked = secured.bytesRead
  /** Of what was read since, what was told of. */
  let pieces = 0
  const worked = (ms: number) => {
    untold += ms
    if (untold < atLeastMs) return
    const now = performance.now()
    part.took(untold, now)
    untold = 0
    if (!part.isFree(now)) part.hold(reader)
  }
  const reader = {
    hold: () => secured._handle?.readStop(),
    release: () => secured._handle?.readStart(),
    look() {
      const read = secured.bytesRead
      const ms = Math.min(atMostMs, Math.max(0, read - looked - pieces) * msPerFramingByte)
      looked = read
      pieces = 0
      worked(ms)
      return ms >= atLeastMs
    },
  }
  session.once('close', part.join(reader))
  return {
    piece(bytes) {
      pieces += bytes
      worked(msPerPiece + bytes * msPerByte)
    },
    worked,
  }
}
