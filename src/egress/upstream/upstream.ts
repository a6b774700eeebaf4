import { TLSSocket } from 'node:tls'
import { LRUCache } from 'lru-cache'
import type { LoopShare } from '../bounds/loop-share.ts'
import type { Channel } from './channel.ts'
import { type Connect, type Place, poolName } from './connection.ts'
import { UpstreamError } from './error.ts'
import { createHttp1 } from './http1.ts'
import { createHttp2 } from './http2.ts'

/** Where somebody's requests go. */
type PersonsPlace = Place & { principalId: string }

export interface Upstream {
  /**
   * A way to this place, on which one request may be sent, one that is `switching` if it is to change the protocol:
   * a kept one at once, or a new one, whose promise rejects with an `UpstreamError`.
   */
  channel(place: PersonsPlace, switching: boolean): Channel | Promise<Channel>
  /** Closes every idle connection, so that none outlives a change of rules. */
  drop(): void
  /** Closes every connection, also one that is only being made: it would keep the process until its upstream tires. */
  close(): void
}

/**
 * Ways to upstreams. Which version of HTTP one speaks is agreed in TLS on the first connection to it, and remembered
 * for a while where it is HTTP/1.1; who comes meanwhile waits for that one connection, by HTTP/2 until it has said how
 * many requests it takes at once.
 */
export function createUpstream(options: {
  connect: Connect
  share: LoopShare
  idleTimeoutMs: number
  maxHeaderSize: number
}): Upstream {
  const { share } = options
  const http1 = createHttp1(options)
  const http2 = createHttp2(options)
  const onlyHttp1 = new LRUCache<string, true>({ max: 5_000, ttl: 300_000 })
  const agreeing = new Map<string, Promise<unknown>>()
  let closed = false

  const connect: Connect = async (place, protocols) => {
    const socket = await options.connect(place, protocols)
    if (!closed) return socket
    socket.destroy()
    throw new UpstreamError('upstream_failed', new Error('the proxy stops'))
  }

  const agree = async (place: PersonsPlace, name: string): Promise<Agreed> => {
    const socket = await connect(place, ['h2', 'http/1.1'])
    if (socket instanceof TLSSocket && socket.alpnProtocol === 'h2') {
      const channel = http2.adopt(name, socket, share.of(place.principalId))
      return { channel, settled: channel.settled }
    }
    onlyHttp1.set(placeName(place), true)
    return { channel: http1.adopt(name, socket, share.of(place.principalId)), settled: undefined }
  }

  /** Which version it will be is known, or nobody else is finding out. */
  const connected = async (place: PersonsPlace, name: string, byHttp1: boolean): Promise<Channel> => {
    for (;;) {
      if (byHttp1 || onlyHttp1.has(placeName(place)))
        return http1.adopt(name, await connect(place, ['http/1.1']), share.of(place.principalId))
      if (http2.isApart(name)) return (await agree(place, name)).channel
      const others = agreeing.get(name)
      if (others === undefined) break
      await others
      const free = http2.free(name)
      if (free !== undefined) return free
    }
    const mine = agree(place, name)
    const settled = mine.then((agreed) => agreed.settled).finally(() => agreeing.delete(name))
    // Whoever waits hears of a failure, and so does this request below.
    settled.catch(() => undefined)
    agreeing.set(name, settled)
    return (await mine).channel
  }

  return {
    channel(place, switching) {
      const name = poolName(place)
      if (switching) return connected(place, name, true)
      return http2.free(name) ?? http1.free(name) ?? connected(place, name, !place.secure)
    },
    drop() {
      http1.drop()
      http2.drop()
    },
    close() {
      closed = true
      http1.close()
      http2.close()
    },
  }
}

/** The way of whoever dialled; `settled` when it is known what else the connection takes. */
interface Agreed {
  channel: Channel
  settled: Promise<void> | undefined
}

/** One server's, whoever asks. */
function placeName({ host, port, addresses }: Place): string {
  return `${host} ${port} ${addresses.join(' ')}`
}
