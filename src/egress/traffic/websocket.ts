import type { Socket } from 'node:net'
import type { Duplex, Transform } from 'node:stream'
import type { Pausable, Turns } from '../bounds/search-share.ts'
import { msPerPiece, worked } from '../bounds/work.ts'
import { FrameError, FrameReader, unmasked } from '../request/websocket-frames.ts'
import type { ScrubForms } from '../secrets/scrub.ts'
import { MessageScrubber } from '../secrets/scrub-messages.ts'
import type { Passed } from './answer-body.ts'
import { join, through } from './join.ts'
import { Lull } from './lull.ts'

/** What was let through a WebSocket so far. */
export interface PassedFrames {
  sent: number
  received: number
}

type Failure =
  | 'websocket_malformed'
  | 'upstream_failed'
  | 'upstream_timeout'
  | 'client_closed'
  | 'scrub_failed'
  | 'proxy_failed'

/**
 * Passes the frames of a WebSocket both ways as they come, counted, and those of the upstream searched for `forms` if
 * there are any. `ended` is told once how it went; null where one side has said that it closes. Nothing is passed
 * that is no frame, so that nothing but a WebSocket is ever spoken behind a handshake.
 */
export function passWebSocket(options: {
  client: Duplex
  upstream: Socket
  /** What the upstream sent right behind its answer. */
  early: Buffer
  forms: ScrubForms | undefined
  /** The turns that its search takes with others. */
  turns: (source: Pausable) => Turns
  /** Told of each piece that the client sends, before it goes on. */
  sending: (bytes: number) => void
  /** The client's payloads as they were meant, of messages and of control frames; left out, nobody looks at them. */
  watch: ((payload: Buffer, of: 'body' | 'control') => void) | undefined
  passed: Passed
  frames: PassedFrames
  idleMs: number
  ended: (failure: Failure | null) => void
  /** Told what was thrown on the way, other than about frames. */
  threw: (error: unknown) => void
}): void {
  const { client, passed, frames, watch } = options
  const nothing = () => undefined
  const fromClient = new FrameReader('client', {
    head: nothing,
    payload: (frame, bytes, at) => {
      if (watch === undefined || frame.mask === undefined) return
      watch(unmasked(bytes, frame.mask, at), frame.control ? 'control' : 'body')
    },
    end: nothing,
  })
  const outward = through((chunk, push) => {
    fromClient.push(chunk)
    worked((fromClient.frames - frames.sent) * msPerPiece)
    frames.sent = fromClient.frames
    options.sending(chunk.length)
    push(chunk)
  })
  /** What goes on of the piece that is being read, as one: frames of a byte are written to the client singly otherwise. */
  let said: Buffer[] | undefined
  const search =
    options.forms &&
    searchMessages(options.forms, {
      client,
      turns: options.turns,
      emit: (frame) => void (said === undefined ? inward.push(frame) : said.push(frame)),
      threw: (error) => void inward.destroy(error),
    })
  const fromUpstream = new FrameReader(
    'server',
    search?.messages ?? { head: nothing, payload: nothing, end: nothing },
  )
  const inward: Transform = through(
    (chunk, push) => {
      said = []
      try {
        fromUpstream.push(chunk)
      } finally {
        if (said.length > 0) push(Buffer.concat(said))
        said = undefined
      }
      worked((fromUpstream.frames - frames.received) * msPerPiece)
      frames.received = fromUpstream.frames
      passed.bytes += chunk.length
      if (search === undefined) return push(chunk)
      passed.redactions = search.messages.hits
      search.lull.wait()
    },
    search?.turns,
    () => {
      search?.lull.end()
      search?.messages.sayLast()
    },
  )

  join<Failure>({
    client,
    upstream: options.upstream,
    outward,
    inward,
    idleMs: options.idleMs,
    complete: () => fromClient.closed || fromUpstream.closed,
    broken: (error, side) => {
      if (!(error instanceof FrameError)) {
        options.threw(error)
        return side === 'client' ? 'proxy_failed' : 'scrub_failed'
      }
      return side === 'client' ? 'websocket_malformed' : 'upstream_failed'
    },
    ended: (failure) => {
      search?.lull.end()
      options.ended(failure)
    },
  })
  if (options.early.length > 0) inward.write(options.early)
}

/** The search of what an upstream says, in turns with others; what waits in it is emitted in its pauses. */
function searchMessages(
  forms: ScrubForms,
  options: {
    client: Duplex
    turns: (source: Pausable) => Turns
    emit: (frame: Buffer) => void
    threw: (error: Error) => void
  },
): { messages: MessageScrubber; turns: Turns; lull: Lull } {
  const { client } = options
  const messages = new MessageScrubber(forms, options.emit)
  let rests = false
  const lull = new Lull({
    search: messages,
    isHeld: () => rests || client.writableNeedDrain,
    letGo: () => {
      try {
        messages.letMarkedGo()
      } catch (error) {
        options.threw(error as Error)
      }
    },
  })
  client.on('drain', () => lull.restart())
  // Whoever brings the pieces waits until one is done, and need not be told to.
  const turns = options.turns({
    pause: () => {
      rests = true
    },
    resume: () => {
      rests = false
      lull.restart()
    },
  })
  return { messages, turns, lull }
}
