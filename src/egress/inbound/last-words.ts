import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

const lingerMs = 1_000

/**
 * Says `text` and ends the connection, whatever its client does: one that does not close it within a second finds it
 * closed. What it still sends until then is read and dropped; unread, it would reset the connection, and with it what
 * was said.
 */
export function endSaying(socket: Socket, text: string): void {
  socket.end(text)
  socket.resume()
  linger(socket)
}

/**
 * Ends the connection of a request that was answered before all of it had come, in the same way. To be called once the
 * answer has been written, before Node's own listener hears of that: where the answer says that it is the last, Node
 * would close at once.
 */
export function endBehind(req: IncomingMessage): void {
  const { socket } = req
  socket.destroySoon = () => {
    if (!socket.writable) return
    socket.end()
    // Nobody else wants it any more, and who waits for room would have it pause.
    req.removeAllListeners('data').resume()
    req.once('end', () => socket.destroy())
    linger(socket)
  }
}

function linger(socket: Socket): void {
  const limit = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('close', () => clearTimeout(limit))
}
