import { formatAuthority } from '../request/host.ts'
import type { Tuple } from '../request/tuple.ts'
import type { Channel } from './channel.ts'
import { type Connect, type Place } from './upstream-connection.ts'
import { createHttp1 } from './upstream-http1.ts'

export interface Upstream {
  channel(place: Place): Promise<Channel>
  /** Closes every idle connection, so that none outlives a change of rules. */
  drop(): void
  close(): void
}

export function createUpstream(options: {
  connect: Connect
  idleTimeoutMs: number
  maxHeaderSize: number
}): Upstream {
  const http1 = createHttp1(options)
  return {
    channel: async (place) => http1.channel(place),
    drop: () => http1.drop(),
    close: () => http1.close(),
  }
}

/** The Host header, and how a refusal names the place. */
export function authorityOf(tuple: Pick<Tuple, 'scheme' | 'host' | 'port'>): string {
  return formatAuthority(tuple.scheme, tuple.host, tuple.port)
}
