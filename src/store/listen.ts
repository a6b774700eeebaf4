import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import pg from 'pg'
import { z } from 'zod'
import { createTrouble, type Log, parseJson } from '../core/index.ts'
import type { Executor, Store } from './database.ts'

const channel = 'toolcrib'
/** How long the end of the connection is waited for: a server that is paused never closes its side. */
const lastWordMs = 1_000
/**
 * Where nothing changes nothing is said, and a router on the way may forget the connection: the system would find out
 * after two hours. So it is asked something, and given up when that is not answered for as long as `openStore` waits.
 */
const askEveryMs = 15_000
const silentMs = 16_000

/** What one replica tells the others. A hint only: whoever acts on it reads the row again. */
export const Notice = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('token'), id: z.string() }),
  z.object({ kind: z.literal('principal'), id: z.string() }),
  z.object({ kind: z.literal('runner'), id: z.string() }),
  z.object({ kind: z.literal('catalog') }),
  z.object({ kind: z.literal('credential') }),
  z.object({ kind: z.literal('egress_keys') }),
  z.object({ kind: z.literal('cancel'), session: z.string(), requestId: z.string() }),
  z.object({ kind: z.literal('slack_job') }),
  /** What a call in flight asked for and did not get; for the person who called. */
  z.object({ kind: z.literal('egress_denied'), callIds: z.array(z.string()), sentence: z.string() }),
])
export type Notice = z.infer<typeof Notice>

/** Tells every replica; inside a transaction it goes out with the commit. */
export async function notify(db: Executor, notice: Notice): Promise<void> {
  await sql`SELECT pg_notify(${channel}, ${JSON.stringify(notice)})`.execute(db)
}

export interface Notices {
  /** Calls `handle` for every notice; returns the way to stop. */
  on(handle: (notice: Notice) => void): () => void
  /**
   * Settles when every notice that was committed before this call has been handled; at once while nobody listens. It
   * asks the database, so whoever is waited for by people bounds it. Never rejects.
   */
  caughtUp(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Listens on a connection of its own and reconnects for ever (0.2 s, doubling to 5 s), also where it is open and
 * silent, which is found out within half a minute. Notices sent while it was away are lost, so every listener also
 * polls: this only makes things faster, never right.
 */
export function listen(store: Pick<Store, 'url'>, log: Log, times = { askEveryMs, silentMs }): Notices {
  const handlers = new Set<(notice: Notice) => void>()
  const stop = new AbortController()
  const trouble = createTrouble(log, {
    fails: 'listening for notices failed',
    lasts: 'listening for notices still fails; changes are seen by polling',
    over: 'listening for notices works again',
  })
  let client: pg.Client | undefined
  let socket: Socket | undefined
  /** Asks on the connection that listens. */
  let listening: ((text: string) => Promise<unknown>) | undefined
  let asked = Promise.resolve()
  let next: Promise<void> | undefined

  // PostgreSQL hands a session the notices of its time before it says that the next query is done. Who asks while one
  // question is under way shares the one after it.
  const caughtUp = () => {
    next ??= asked.then(async () => {
      next = undefined
      await listening?.('SELECT 1').catch(() => undefined)
    })
    asked = next
    return next
  }

  const deliver = (payload: string | undefined) => {
    const notice = Notice.safeParse(parseJson(payload ?? ''))
    if (!notice.success) return
    for (const handle of handlers) {
      try {
        handle(notice.data)
      } catch (err) {
        log.error({ err, notice: notice.data.kind }, 'notice handler failed')
      }
    }
  }

  const connectOnce = async () => {
    const mine = new Socket()
    socket = mine
    const connection = new pg.Client({
      stream: () => mine,
      connectionString: store.url,
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
      application_name: 'toolcrib listen',
    })
    client = connection
    const silent = new Error(`the database said nothing for ${times.silentMs / 1_000} s`)
    const closed = new Promise<Error | undefined>((resolve) => {
      connection.on('error', resolve)
      connection.on('end', () => resolve(undefined))
    })
    connection.on('notification', (message) => deliver(message.payload))
    const ask = async (text: string) => {
      const late = setTimeout(() => mine.destroy(silent), times.silentMs)
      await connection.query(text).finally(() => clearTimeout(late))
    }
    let asking: NodeJS.Timeout | undefined
    try {
      await connection.connect()
      await ask(`LISTEN ${channel}`)
      trouble.over('listen')
      listening = ask
      asking = setInterval(() => void caughtUp(), times.askEveryMs)
      if ((await closed) === silent) throw silent
    } finally {
      clearInterval(asking)
      listening = undefined
      await connection.end().catch(() => undefined)
    }
  }

  const run = (async () => {
    let delay = 200
    while (!stop.signal.aborted) {
      const since = performance.now()
      await connectOnce().catch((err: unknown) => {
        // Only ever the connection's: what reads and handles notices catches its own.
        if (!stop.signal.aborted) trouble.happened('listen', err)
      })
      if (stop.signal.aborted) return
      delay = performance.now() - since > 30_000 ? 200 : Math.min(delay * 2, 5_000)
      await sleep(delay, undefined, { signal: stop.signal }).catch(() => undefined)
    }
  })()

  return {
    on(handle) {
      handlers.add(handle)
      return () => handlers.delete(handle)
    },
    caughtUp,
    async [Symbol.asyncDispose]() {
      stop.abort()
      const late = setTimeout(() => socket?.destroy(), lastWordMs)
      await client?.end().catch(() => undefined)
      await run
      clearTimeout(late)
    },
  }
}
