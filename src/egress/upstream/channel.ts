import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { Tuple } from '../request/tuple.ts'

/** A request that may go out: every part of it decided already. */
export interface Outgoing {
  tuple: Tuple
  /** Fields alternating with values, in the order in which they are sent; framing is the channel's. */
  headers: readonly string[]
  /** The body's length where it was declared, `chunked` where it was not, undefined without a body. */
  content: number | 'chunked' | undefined
  /** The fields among `headers` that carry a credential, in lower case. */
  secretFields: readonly string[]
  /** It asks to become a WebSocket, which only HTTP/1.1 can here. */
  switching: boolean
}

/** The head of an answer, and the way to its body. */
export interface UpstreamAnswer {
  status: number
  rawHeaders: readonly string[]
  /** Whether nothing comes after the head: what gRPC reads as "these fields are the trailers". */
  headOnly: boolean
  /** Whether the end of the connection is all that ends the body: then nobody can tell whether it is whole. */
  untilClose: boolean
  /** Whether the body reads as it was meant: no transfer coding but chunked. */
  plain(): boolean
  /** Has the body told to `reader` as it comes; to be called before `answered` returns, or the body is lost. */
  read(reader: BodyReader): void
  /** Asks for no more until `resume`; what is on its way may still come. */
  pause(): void
  resume(): void
}

/** Whom a body is told to; after `ended` or `failed` there is nothing more. */
export interface BodyReader {
  data(part: Buffer): void
  /** It is whole. */
  ended(trailers: readonly string[]): void
  /** It was cut off. */
  failed(): void
}

/**
 * What becomes of a request: `answered`, `switched` or `failed`, once. Nothing is told after it was aborted. How a body
 * ends is told to its reader; where `answered` threw before there was one, `failed` is told after it.
 */
export interface UpstreamEvents {
  answered(answer: UpstreamAnswer): void
  failed(error: unknown): void
  timedOut(): void
  /** The connection changed to another protocol, and is now whoever's is told of it. */
  switched(change: Switched): void
}

/** An answer that changed the protocol, asked for or not. */
export interface Switched {
  status: number
  rawHeaders: readonly string[]
  socket: Socket
  /** What came right behind the answer. */
  early: Buffer
}

/** A request under way. */
export interface UpstreamRequest {
  /** Sends the body to its end, then its trailers; without one ends the request at once. */
  send(body: Readable | undefined, trailers: () => readonly string[]): void
  /** Ends it, whatever has come of it: nothing more is sent, and what was not read is let go. */
  abort(): void
}

/**
 * One way to a place, good for one request at a time or for many. Each time that it is handed out it is to be opened or
 * released, once; where `open` throws, released.
 */
export interface Channel {
  open(outgoing: Outgoing, events: UpstreamEvents): UpstreamRequest
  /** Gives it back without having sent anything. */
  release(): void
}
