import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { msPerField, msPerRequest, worked } from '../bounds/work.ts'
import { headerListSize } from '../request/fields.ts'
import { headerValues } from '../request/head.ts'
import type { Inbound } from './inbound.ts'

/** More than any client asks for ahead of the answers; whoever does gets so many, and is told to come again. */
const mostOwed = 64
/**
 * Of what waits, all heads together, as HTTP/2 counts them: one of 32 KiB may have eight thousand fields, which take half
 * a megabyte of memory.
 */
const mostWaitingBytes = 64 * 1024
/** What may come behind those unheard. Node has made an object of each by then, so that they must be bounded too. */
const mostUnheard = 512

/**
 * What a connection by HTTP/1.1 owes: the answers to requests that have come, until the last byte of each was handed to
 * the network and Node has let go of it. Whoever would write to it otherwise must know, or writes into one of them.
 */
interface Due {
  owed: Set<Inbound>
  /** Serves the next, for each that waits for its turn. */
  waiting: { serve: () => void; headBytes: number }[]
  waitingBytes: number
  /** It owes as much as it may, or what comes next cannot be told, and hears no more. */
  full: boolean
  unheard: number
}
const due = new WeakMap<Duplex, Due>()

/**
 * Whether one more request is heard. A connection that owes too much hears no other: its last answer says so, and what
 * stands behind it was not begun.
 */
export function hearsMore(req: IncomingMessage): boolean {
  worked(msPerRequest)
  const of = due.get(req.socket)
  if (of === undefined || !of.full) return true
  of.unheard += 1
  if (of.unheard > mostUnheard) endOwing(req.socket)
  // Node keeps it until all that it stands behind is answered.
  req.rawHeaders = []
  req.headers = {}
  req.url = ''
  // What nobody reads would keep the connection from being heard out.
  req.resume()
  return false
}

/**
 * Calls `serve` once every answer that is due before has left, at once where there is none: a request must not overtake
 * one that changes something (RFC 9112 section 9.3.2), and one connection has no more than one under way. `serve` must
 * not throw. What asks to change the protocol is the last that is heard: of a change that is refused Node drops what
 * came together with it, and would take for a request whatever comes then, be it the body of one.
 */
export function inTurn(socket: Duplex, inbound: Inbound, serve: () => void): void {
  worked((inbound.rawHeaders.length / 2) * msPerField)
  let known = due.get(socket)
  if (known === undefined) {
    known = { owed: new Set(), waiting: [], waitingBytes: 0, full: false, unheard: 0 }
    due.set(socket, known)
  }
  const of = known
  const { owed, waiting } = of
  owed.add(inbound)
  inbound.answer.onClosed(() => {
    owed.delete(inbound)
    const next = waiting.shift()
    if (next === undefined) return
    of.waitingBytes -= next.headBytes
    // Others that have arrived come first: a flood on one connection is dealt with one request at a time.
    setImmediate(next.serve)
  })
  const waits = owed.size > 1
  const headBytes = waits ? inbound.target.length + headerListSize(inbound.rawHeaders) : 0
  of.waitingBytes += headBytes
  const isFull = owed.size === mostOwed || of.waitingBytes > mostWaitingBytes
  if (isFull || headerValues(inbound.rawHeaders, 'upgrade').length > 0) {
    of.full = true
    inbound.answer.beLast()
  }
  if (waits) waiting.push({ serve, headBytes })
  else serve()
}

export function owesAnswer(socket: Duplex): boolean {
  return (due.get(socket)?.owed.size ?? 0) > 0
}

/**
 * Whether words about bytes that are no request would stand where they belong: nothing is owed, or only the answer to
 * the request whose own body they are.
 */
export function mayRefuseBytes(socket: Duplex): boolean {
  const [first, second] = due.get(socket)?.owed ?? []
  return first === undefined || (second === undefined && !first.complete() && !first.answer.begun())
}

/** Ends a connection with all that it owes: Node does not always tell the answers that wait for their turn. */
export function endOwing(socket: Duplex): void {
  for (const { answer } of due.get(socket)?.owed ?? []) answer.abort()
  socket.destroy()
}
