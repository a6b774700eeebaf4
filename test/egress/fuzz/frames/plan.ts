import type { PlannedRequest } from '../wire/plan.ts'
import type { Fields } from './hpack.ts'
import type { Acting } from './upstream.ts'

/** A request on a stream of its own. */
export interface PlannedStream extends PlannedRequest {
  head: Fields
  /** Its head says that nothing follows. */
  headEnds: boolean
  /** What follows the head, whatever that says of it. */
  sent: Buffer
  trailers?: Fields
  /** It never says that this is all. */
  staysOpen?: boolean
  /** Node ends the connection for it, though no other stream is broken. */
  endsAll?: boolean
  /** The client takes it back so many milliseconds after its head, with this code. */
  takenBack?: { afterMs: number; code: number }
  /** What an upstream by HTTP/2 does; one by HTTP/1.1 has its `answer`. */
  act?: Act
  /** It says that it has not begun with it. */
  refuses?: boolean
}

/** What an upstream by HTTP/2 says on a stream. */
export type Act = (on: Acting) => Promise<void> | void
