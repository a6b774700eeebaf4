import type { Socket } from 'node:net'
import { createLimit, type Full } from './limits.ts'

/**
 * Who holds the proxy's connections. Everybody shares one door, and whoever connects has no name before a lease was
 * read: so the nameless are few and the oldest of them makes room, and whoever has a name has so many and no more.
 */
export interface Crowd {
  /** A new connection; beyond the limit, the one that has been silent for longest is closed. */
  arrived(socket: Socket): void
  /** A whole head has come: it is no longer among the silent. */
  spoke(socket: Socket): void
  /** It is this person's until it closes; or who is at the limit, and then it should be closed. Again: nothing. */
  named(socket: Socket, principalId: string): Full | undefined
}

export function createCrowd(limits: { nameless: number; perPrincipal: number; total: number }): Crowd {
  const silent = new Set<Socket>()
  const owned = new WeakSet<Socket>()
  const places = createLimit(limits)
  return {
    arrived(socket) {
      silent.add(socket)
      socket.once('close', () => silent.delete(socket))
      if (silent.size <= limits.nameless) return
      const [oldest] = silent
      oldest?.destroy()
      if (oldest !== undefined) silent.delete(oldest)
    },
    spoke: (socket) => void silent.delete(socket),
    named(socket, principalId) {
      if (owned.has(socket) || socket.destroyed) return undefined
      const place = places.take(principalId)
      if (typeof place === 'string') return place
      owned.add(socket)
      socket.once('close', place)
      return undefined
    },
  }
}
