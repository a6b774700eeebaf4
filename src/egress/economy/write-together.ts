import type { Duplex } from 'node:stream'

let held: Duplex[] = []

/**
 * Holds what is written to a socket back until all that had arrived by now is dealt with. Writing to somebody who
 * sleeps wakes them, which takes longer than the writing; in a burst that is paid for once.
 */
export function writeTogether(socket: Duplex): void {
  socket.cork()
  if (held.length === 0) setImmediate(letGo)
  held.push(socket)
}

function letGo(): void {
  const sockets = held
  held = []
  for (const socket of sockets) socket.uncork()
}
