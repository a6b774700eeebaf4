import { connect as connectHttp2 } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { LRUCache } from 'lru-cache'
import { watchForBreak } from '../bounds/broken-writes.ts'
import { readSessionFairly } from '../bounds/fair-session.ts'
import type { Part } from '../bounds/loop-share.ts'
import { createRounds } from '../bounds/rounds.ts'
import { maxHeaderListPairs, maxSendHeaderBlockLength } from '../request/fields.ts'
import type { Channel } from './channel.ts'
import { maxStreams, Session } from './http2-session.ts'

/** How many bytes of an answer come before they are read. */
const streamWindow = 256 * 1024

/** How long requests of a name are kept apart, once one has broken a connection that others were on. */
const apartMs = 300_000

export interface Http2 {
  /** A session of this name that has room for one more stream, which is counted from here on. */
  free(name: string): Channel | undefined
  /** Whether each connection of this name takes one request at a time, for an upstream of it broke the rules lately. */
  isApart(name: string): boolean
  /**
   * Takes over a connection on which HTTP/2 was agreed, for requests of this name and no other: a channel for the one
   * who dialled, at once. `settled` says when there may be room for others, as `Session.settled` does.
   */
  adopt(name: string, socket: TLSSocket, part: Part): Channel & { settled: Promise<void> }
  drop(): void
  close(): void
}

/** Sessions by the name of their place. What a certificate names besides opens nothing. */
export function createHttp2(options: { idleTimeoutMs: number; maxHeaderSize: number }): Http2 {
  const pooled = new Map<string, Session[]>()
  const all = new Set<Session>()
  const apart = new LRUCache<string, true>({ max: 5_000, ttl: apartMs })
  const rounds = createRounds()
  return {
    free(name) {
      const most = apart.has(name) ? 1 : maxStreams
      return pooled.get(name)?.find((session) => session.take(most))
    },
    isApart: (name) => apart.has(name),
    adopt(name, socket, part) {
      const inner = connectHttp2(`https://${socket.servername || 'upstream'}`, {
        createConnection: () => socket,
        maxSessionMemory: 8,
        maxSendHeaderBlockLength,
        maxHeaderListPairs: maxHeaderListPairs(options.maxHeaderSize),
        maxReservedRemoteStreams: 0,
        peerMaxConcurrentStreams: maxStreams,
        settings: {
          enablePush: false,
          initialWindowSize: streamWindow,
          maxHeaderListSize: options.maxHeaderSize,
        },
      })
      inner.once('connect', () => {
        // Room for all streams: those of a Node server that wait for the connection end with a reset in place of their end.
        if (!inner.destroyed) inner.setLocalWindowSize(maxStreams * streamWindow)
      })
      watchForBreak(rounds, socket, () => inner.destroy())
      const session = new Session(inner, socket, { ...options, came: readSessionFairly(inner, socket, part) })
      all.add(session)
      pooled.set(name, [...(pooled.get(name) ?? []), session])
      const leave = () => {
        const rest = (pooled.get(name) ?? []).filter((other) => other !== session)
        if (rest.length === 0) pooled.delete(name)
        else pooled.set(name, rest)
      }
      inner.on('error', (err) => {
        if (isBreach(err)) apart.set(name, true)
        leave()
      })
      inner.on('goaway', leave)
      inner.on('close', () => {
        leave()
        all.delete(session)
      })
      return session
    },
    drop() {
      pooled.clear()
      for (const session of all) session.retire()
    },
    close() {
      rounds.close()
      for (const session of all) session.destroy()
    },
  }
}

/**
 * Whether Node ended a session for what came on it (docs/decisions/0035); a goodbye for a reason is the upstream's own
 * end.
 */
function isBreach({ code }: NodeJS.ErrnoException): boolean {
  return code?.startsWith('ERR_HTTP2_') === true && code !== 'ERR_HTTP2_SESSION_ERROR'
}
