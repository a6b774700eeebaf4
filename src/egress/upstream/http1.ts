import type { Socket } from 'node:net'
import type { Part } from '../bounds/loop-share.ts'
import { idleMs } from './bounds.ts'
import type { Channel } from './channel.ts'
import { Connection } from './http1-connection.ts'

const sweepMs = 500
/** Idle connections of one name. */
const maxFree = 64

export interface Http1 {
  /** A kept connection of this name. */
  free(name: string): Channel | undefined
  /** Takes over a connection for requests of this name and no other, one after the other. */
  adopt(name: string, socket: Socket, part: Part): Channel
  /** Closes every idle connection. */
  drop(): void
  close(): void
}

/** Requests by HTTP/1.1 over kept connections, by the name of their place. */
export function createHttp1(options: { idleTimeoutMs: number; maxHeaderSize: number }): Http1 {
  const all = new Set<Connection>()
  const free = new Map<string, { connection: Connection; since: number }[]>()
  let rested: { name: string; connection: Connection }[] = []
  let sweeping: NodeJS.Timeout | undefined

  // Only after this turn: what an upstream says beyond its answer must not wait there for the next request.
  const rest = (name: string, connection: Connection) => {
    if (rested.length === 0) setImmediate(keep)
    rested.push({ name, connection })
  }
  const keep = () => {
    const since = performance.now()
    for (const { name, connection } of rested) {
      if (connection.closed) continue
      const others = free.get(name) ?? []
      free.set(name, others)
      if (others.length < maxFree) others.push({ connection, since })
      else connection.close()
    }
    rested = []
    sweeping ??= setInterval(sweep, sweepMs).unref()
  }
  const sweep = () => {
    const before = performance.now() - idleMs
    for (const [name, kept] of free) {
      while (kept[0] !== undefined && (kept[0].since < before || kept[0].connection.closed))
        kept.shift()?.connection.close()
      if (kept.length === 0) free.delete(name)
    }
    if (free.size > 0) return
    clearInterval(sweeping)
    sweeping = undefined
  }

  return {
    free(name) {
      const kept = free.get(name)
      for (;;) {
        // The last to come is the likeliest to live.
        const last = kept?.pop()
        if (last === undefined || !last.connection.closed) return last?.connection
      }
    },
    adopt(name, socket, part) {
      const connection = new Connection(socket, {
        ...options,
        part,
        rested: () => rest(name, connection),
        gone: () => all.delete(connection),
      })
      all.add(connection)
      return connection
    },
    drop() {
      for (const kept of free.values()) for (const { connection } of kept) connection.close()
      free.clear()
    },
    close() {
      clearInterval(sweeping)
      for (const connection of all) connection.close()
    },
  }
}
