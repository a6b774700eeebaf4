import type { Socket } from 'node:net'

/** How long a client that was answered may still send what nobody will read. */
export const lingerMs = 1_000

/**
 * Says `text`, if there is any, and ends the connection, whatever its client does: one that does not close it within a
 * second finds it closed. What it still sends until then is read and dropped; unread, it would reset the connection, and
 * with it what was said.
 */
export function endSaying(socket: Socket, text = ''): void {
  socket.end(text)
  socket.resume()
  const limit = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('close', () => clearTimeout(limit))
}
