import { Socket } from 'node:net'
import { Kysely, PostgresDialect, type Transaction } from 'kysely'
import pg from 'pg'
import type { Log } from '../core/index.ts'
import type { Database } from './schema.ts'

/** What a query function needs: the pool or a transaction. */
export type Executor = Kysely<Database> | Transaction<Database>

/** One connection of the pool, for statements that share its fate. */
export type Connection = pg.PoolClient

/** One pool and the Kysely over it. `pool` is for the few prepared statements on the way of a call. */
export interface Store {
  readonly db: Kysely<Database>
  readonly pool: pg.Pool
  readonly url: string
  [Symbol.asyncDispose](): Promise<void>
}

// int8 as a number: our counters and event ids stay below 2^53.
const int8 = 20
pg.types.setTypeParser(int8, Number)

/** How PostgreSQL takes leave of a connection when it is told to shut down: no fault, and no surprise. */
const adminShutdown = '57P01'
const sameLeaveMs = 1_000

/**
 * Opens a pool of at most `poolSize` connections to PostgreSQL at `url`. Nothing is dialled until the first
 * query. A connection attempt that takes longer than 5 s fails, and so does a query after `queryMs` (15 s), by the
 * server's clock, or a second later by ours, when the server says nothing any more.
 */
export function openStore(options: {
  url: string
  poolSize: number
  log: Log
  queryMs?: number | undefined
}): Store {
  const { queryMs = 15_000 } = options
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolSize,
    connectionTimeoutMillis: 5_000,
    statement_timeout: queryMs,
    // Well before `quietSocket`, so that what is idle is closed in good order.
    idleTimeoutMillis: queryMs * (2 / 3),
    stream: () => quietSocket(queryMs + 1_000),
    keepAlive: true,
    application_name: 'toolcrib',
  })
  // A connection that breaks is replaced by the pool; without a listener it would end the process. The pool listens
  // to idle ones only: one that breaks in the hands of a transaction, between two statements, tells nobody else.
  pool.on('connect', (client) => {
    client.on('error', (err) => options.log.debug({ err: withoutClient(err) }, 'database connection broke'))
  })
  let closed = false
  let leftAt = Number.NEGATIVE_INFINITY
  pool.on('error', (err) => {
    if (closed) return
    // An idle connection's error comes from its socket: a stack would say nothing of who lost it.
    const { message: reason, code } = err as NodeJS.ErrnoException
    if (code !== adminShutdown) return options.log.warn({ reason, code }, 'database connection lost')
    // Each idle connection is told, one after the other.
    if (performance.now() - leftAt > sameLeaveMs)
      options.log.info({ reason }, 'the database closed our connections; new ones follow when it is there')
    leftAt = performance.now()
  })
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
  return {
    db,
    pool,
    url: options.url,
    async [Symbol.asyncDispose]() {
      closed = true
      await db.destroy()
    },
  }
}

/** Does `work` on a connection of its own, which is closed when `work` rejects: nobody knows how far it came. */
export async function onConnection<T>(
  pool: pg.Pool,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await pool.connect()
  let broken = true
  try {
    const result = await work(connection)
    broken = false
    return result
  } finally {
    connection.release(broken)
  }
}

/**
 * A socket that breaks when nothing comes or goes for `ms`. pg's own `query_timeout` would do, but a timer and two
 * closures for each query keep V8 from collecting what a call made while it is young: 3 ms more for one in a hundred.
 */
function quietSocket(ms: number): Socket {
  const socket = new Socket()
  return socket.setTimeout(ms, () =>
    socket.destroy(new Error(`the database said nothing for ${ms / 1_000} s`)),
  )
}

/** The pool hangs the whole connection on its errors, which is nothing for a log. */
function withoutClient(error: Error): Error {
  delete (error as { client?: unknown }).client
  return error
}
