import type { Socket } from 'node:net'

/** Tells what has come of a connection that broke and nobody has read yet: Node tells it only who asks. */
export function readRest(socket: Socket, tell: (piece: Buffer) => void): void {
  for (let rest: unknown = socket.read(); rest !== null; rest = socket.read()) tell(rest as Buffer)
}

/** What had come by then is in this machine, and most is read in the next turn of the loop. */
const restMs = 50

/**
 * Has what had come before a write failed be read and told before the connection breaks for that. An upstream that
 * answers in the middle of a request and closes resets it under what is still sent, and Node, once a write has heard of
 * that, would neither read the answer nor let anything that it read through.
 */
export function readBeforeBreak(socket: Socket, tell: (piece: Buffer) => void): void {
  const destroy = socket.destroy.bind(socket)
  let reads = false
  socket.destroy = (error) => {
    if (reads || (error as NodeJS.ErrnoException | undefined)?.syscall !== 'write') return destroy(error)
    reads = true
    readRest(socket, tell)
    socket.push = (piece: Buffer | null) => {
      if (piece === null) destroy(error)
      else tell(piece)
      // A client that does not read shall not have it pile up here.
      return !socket.isPaused()
    }
    // Behind a turn that took so long itself, only the next one reads.
    setTimeout(() => setImmediate(() => destroy(error)), restMs).unref()
    return socket
  }
}
