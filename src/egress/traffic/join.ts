import type { Socket } from 'node:net'
import { type Duplex, Transform } from 'node:stream'
import { keepTogether } from '../bounds/crumbs.ts'
import type { Turns } from '../bounds/search-share.ts'
import { putWaitingCrumbsTogether } from '../bounds/waiting-crumbs.ts'
import { readRest } from '../upstream/rest.ts'

/** How long a client may take to close its end once everything is over. */
const lingerMs = 5_000

/** Who ended first, each with what it is when it was not meant; broken off is reset, or cut by the network. */
const endings = {
  client_gone: 'client_closed',
  upstream_closed: 'upstream_failed',
  upstream_broken: 'upstream_failed',
} as const
export type Ending = keyof typeof endings

/** Thrown by what is done to the bytes of a side: it means this, and both end. */
export class EndWith<Failure extends string> extends Error {
  readonly failure: Failure

  constructor(failure: Failure) {
    super(failure)
    this.failure = failure
  }
}

/**
 * Joins two connections through what is done to the bytes of each, until either ends, breaks or nothing has passed for
 * `idleMs`: for want of a client that reads, or of an upstream. `ended` is told once: null where `complete` says that it
 * was meant to end there, and so. However an upstream ends, the client still gets what has come of it before.
 */
export function join<Failure extends string>(options: {
  client: Duplex
  upstream: Socket
  outward: Transform
  inward: Transform
  idleMs: number
  complete: (ending: Ending) => boolean
  /** What any other error of one of the two transforms means. */
  broken: (error: Error, side: 'client' | 'upstream') => Failure
  ended: (failure: Failure | 'client_closed' | 'upstream_failed' | 'upstream_timeout' | null) => void
}): { end(failure: Failure): void } {
  const { client, upstream, outward, inward, complete, broken } = options
  let over = false
  const end = (failure: Parameters<typeof options.ended>[0], hasLastWords = false) => {
    if (over) return
    over = true
    clearTimeout(timer)
    upstream.destroy()
    if (hasLastWords) {
      // What has been passed on may still be on its way to the client, the last of it above all.
      client.unpipe(outward)
      client.resume()
      client.end()
      setTimeout(() => client.destroy(), lingerMs).unref()
    } else client.destroy()
    options.ended(failure)
  }
  const endFor = (error: Error, side: 'client' | 'upstream') =>
    end(error instanceof EndWith ? (error.failure as Failure) : broken(error, side))
  outward.on('error', (error) => endFor(error, 'client'))
  inward.on('error', (error) => endFor(error, 'upstream'))
  // An upstream hangs up, or resets, for a client that has ended its side: neither is then its own doing.
  let isBroken = false
  let clientWasFirst = false
  client.on('end', () => {
    clientWasFirst = !isBroken && !upstream.readableEnded
  })
  const endAs = (ending: Ending) => {
    const failure = clientWasFirst ? endings.client_gone : endings[ending]
    end(complete(ending) ? null : failure, ending !== 'client_gone')
  }
  client.on('error', () => endAs('client_gone'))
  client.on('close', () => endAs('client_gone'))
  const breakOff = () => {
    if (over || isBroken || upstream.readableEnded) return
    isBroken = true
    readRest(upstream, (piece) => inward.write(piece))
    inward.end()
  }
  upstream.on('error', breakOff)
  upstream.on('close', breakOff)
  // What came before its end may still be on its way through.
  inward.on('end', () => endAs(isBroken ? 'upstream_broken' : 'upstream_closed'))
  // Not the upstream's own, which ends with it: what it has left behind may still wait for a client that does not read.
  const timer = setTimeout(
    () => end(client.writableNeedDrain ? 'client_closed' : 'upstream_timeout'),
    options.idleMs,
  )
  for (const side of [client, upstream]) putWaitingCrumbsTogether(side)
  for (const side of [client, upstream])
    for (const event of ['data', 'drain']) side.on(event, () => void timer.refresh())
  upstream.pipe(inward).pipe(client, { end: false })
  client.pipe(outward).pipe(upstream)
  return { end }
}

/**
 * What is done to the bytes of one side: `push` passes some on, a throw ends both. `turns` says when each piece may be
 * looked at; the next one waits. `last` is done behind the last one, if that side ends.
 */
export function through(
  step: (chunk: Buffer, push: (bytes: Buffer) => void) => void,
  turns: Turns = (run) => run(),
  last: () => void = () => undefined,
): Transform {
  const attempt = (run: () => void, done: (error?: Error) => void) => {
    try {
      run()
      done()
    } catch (error) {
      done(error as Error)
    }
  }
  const made = new Transform({
    transform(chunk: Buffer, _, done) {
      turns(() => attempt(() => step(chunk, (bytes) => void made.push(bytes)), done))
    },
    flush: (done) => attempt(last, done),
  })
  putWaitingCrumbsTogether(made)
  keepTogether(made)
  return made
}
