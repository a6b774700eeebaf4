import type { Socket } from 'node:net'

/** Tells what has come of a connection that broke and nobody has read yet: Node tells it only who asks. */
export function readRest(socket: Socket, tell: (piece: Buffer) => void): void {
  for (let rest: unknown = socket.read(); rest !== null; rest = socket.read()) tell(rest as Buffer)
}
