import type { Duplex, Readable, Writable } from 'node:stream'
import type { Handshake } from '../request/websocket.ts'

/**
 * One request of a sandbox and the way to answer it: the same for every version of HTTP, so that what is decided,
 * recorded and passed on does not depend on how it was framed.
 */
export interface Inbound {
  readonly method: string
  /** The path and query, or whatever stood in their place. */
  readonly target: string
  /** The host as the client wrote it; for a record of what could not be understood. */
  readonly claimedHost: string
  /** Fields alternating with values, in the order of the wire, without HTTP/2's pseudo-header fields. */
  readonly rawHeaders: readonly string[]
  /** Undefined when the request has no body. */
  readonly content: { body: Readable; length: number | undefined } | undefined
  readonly answer: InboundAnswer
  /** What a WebSocket is asked for by; nothing else may change the protocol. */
  readonly webSocket?: WebSocketOffer | undefined
  /** Whether all that the client meant to send has arrived. */
  complete(): boolean
  /** The trailer fields, alternating with their values, once the body has ended. */
  trailers(): readonly string[]
  /** Says `100 Continue` if the client waits for it before it sends the body. */
  proceed(): void
}

/** A handshake that waits for its answer. */
export interface WebSocketOffer {
  readonly handshake: Handshake
  /** Answers it with 101 and these fields, and gives what the client then sends and reads. */
  open(headers: readonly string[]): Duplex
}

/** The answer to one request, written once from head to trailers. */
export interface InboundAnswer {
  /** Takes the body; `drain` tells when it wants more. */
  readonly sink: Writable
  /** Whether a head was written. */
  begun(): boolean
  /** Whether nobody reads it any more. */
  gone(): boolean
  /**
   * Writes a head; fields that belong to one hop of HTTP/1.1 must not be among `headers`. `headOnly` says that
   * nothing will follow but `end([])`. `phrase`, in printable ASCII, is said where HTTP/1.1 has room for it.
   */
  head(status: number, headers: readonly string[], how?: { headOnly?: boolean; phrase?: string }): void
  /** Lets a head go out before the first byte of the body. */
  flush(): void
  /** The body is whole, with `last` as its end. What the client still sends of its own is not read. */
  end(trailers: readonly string[], last?: Buffer): void
  /** Says in its head, before that is written, that it is the last on its connection, and ends that behind it. */
  beLast(): void
  /**
   * Says in place of an answer that the request was not begun, where the version of HTTP has a word for that which
   * clients know: theirs is then to send it again. False where it was not said.
   */
  refuse(): boolean
  /** Cuts it off, so that it is not taken for whole. */
  abort(): void
  /** Called once when it is over; `whole` says whether all of it was handed to the network. */
  onClosed(listener: (whole: boolean) => void): void
  /**
   * Called, of one that has ended, when nothing of it waits for its client any more: by HTTP/1.1 at once, for what is
   * asked next waits for that itself.
   */
  onLeft(listener: () => void): void
}
