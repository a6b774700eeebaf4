import type { Duplex } from 'node:stream'
import type { Inbound } from './inbound.ts'

/**
 * What a connection by HTTP/1.1 owes: the answers to requests that have come, until the last byte of each was handed to
 * the network and Node has let go of it. Whoever would write to it otherwise must know, or writes into one of them.
 */
const due = new WeakMap<Duplex, Set<Inbound>>()

export function oweAnswer(socket: Duplex, inbound: Inbound): void {
  const owed = due.get(socket) ?? new Set()
  due.set(socket, owed)
  owed.add(inbound)
  inbound.answer.onClosed(() => owed.delete(inbound))
}

export function owesAnswer(socket: Duplex): boolean {
  return (due.get(socket)?.size ?? 0) > 0
}

/**
 * Whether words about bytes that are no request would stand where they belong: nothing is owed, or only the answer to
 * the request whose own body they are.
 */
export function mayRefuseBytes(socket: Duplex): boolean {
  const [first, second] = due.get(socket) ?? []
  return first === undefined || (second === undefined && !first.complete() && !first.answer.begun())
}

/** Ends a connection with all that it owes: Node does not always tell the answers that wait for their turn. */
export function endOwing(socket: Duplex): void {
  for (const { answer } of due.get(socket) ?? []) answer.abort()
  socket.destroy()
}
