import { type Duplex, Transform } from 'node:stream'
import { FrameError, FrameReader, unmasked } from '../request/websocket-frames.ts'
import type { ScrubForms } from '../secrets/scrub.ts'
import { MessageScrubber } from '../secrets/scrub-messages.ts'
import type { Passed } from './answer.ts'

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

/**
 * Passes the frames of a WebSocket both ways as they come, counted, and those of the upstream searched for `forms` if
 * there are any. `ended` is told once how it went; null where one side has said that it closes. Nothing is passed
 * that is no frame, so that nothing but a WebSocket is ever spoken behind a handshake.
 */
export function passWebSocket(options: {
  client: Duplex
  upstream: Duplex & { setTimeout(ms: number, listener: () => void): unknown }
  /** What the upstream sent right behind its answer. */
  early: Buffer
  forms: ScrubForms | undefined
  /** Told of each piece that the client sends, before it goes on. */
  sending: (bytes: number) => void
  /** The client's payloads as they were meant; left out, nobody looks at them. */
  watch: ((payload: Buffer) => void) | undefined
  passed: Passed
  frames: PassedFrames
  idleMs: number
  ended: (failure: Failure | null) => void
}): void {
  const { client, upstream, passed, frames, watch } = options
  let over = false

  const nothing = () => undefined
  const fromClient = new FrameReader('client', {
    head: nothing,
    payload: (frame, bytes, at) => {
      if (watch !== undefined && frame.mask !== undefined) watch(unmasked(bytes, frame.mask, at))
    },
    end: nothing,
  })
  const outward = new Transform({
    transform(chunk: Buffer, _, done) {
      fromClient.push(chunk)
      frames.sent = fromClient.frames
      options.sending(chunk.length)
      done(null, chunk)
    },
  })
  const scrubber = options.forms && new MessageScrubber(options.forms, (bytes) => void inward.push(bytes))
  const fromUpstream = new FrameReader(
    'server',
    scrubber ?? { head: nothing, payload: nothing, end: nothing },
  )
  const inward: Transform = new Transform({
    transform(chunk: Buffer, _, done) {
      fromUpstream.push(chunk)
      frames.received = fromUpstream.frames
      passed.bytes += chunk.length
      if (scrubber === undefined) this.push(chunk)
      else passed.redactions = scrubber.hits
      done()
    },
  })

  const end = (failure: Failure | null) => {
    if (over) return
    over = true
    upstream.destroy()
    // What has been passed on may still be on its way to the client, its last frame above all.
    if (failure === null && !client.writableEnded) client.end()
    else if (failure !== null) client.destroy()
    options.ended(failure)
  }
  const closing = () => fromClient.closed || fromUpstream.closed
  outward.on('error', (err) => end(err instanceof FrameError ? 'websocket_malformed' : 'upstream_failed'))
  inward.on('error', (err) => end(err instanceof FrameError ? 'upstream_failed' : 'scrub_failed'))
  upstream.on('error', () => end(closing() ? null : 'upstream_failed'))
  upstream.on('close', () => end(closing() ? null : 'upstream_failed'))
  client.on('close', () => end(closing() ? null : 'client_closed'))
  upstream.setTimeout(options.idleMs, () => end('upstream_timeout'))

  if (options.early.length > 0) inward.write(options.early)
  upstream.pipe(inward).pipe(client)
  client.pipe(outward).pipe(upstream)
}
