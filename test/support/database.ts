import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { openStore, type Store } from '../../src/store/index.ts'

/** A migrated, empty database of the caller's own, dropped when disposed: `await using store = await testStore()`. */
export async function testStore(options: { poolSize?: number } = {}): Promise<Store> {
  const admin = inject('databaseUrl')
  const name = `t_${randomBytes(6).toString('hex')}`
  await onServer(admin, `CREATE DATABASE ${name} TEMPLATE template STRATEGY file_copy`)
  const store = openStore({
    url: admin.replace(/\/postgres$/, `/${name}`),
    poolSize: options.poolSize ?? 8,
    log: silentLog,
  })
  return {
    ...store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await onServer(admin, `DROP DATABASE ${name} WITH (FORCE)`)
    },
  }
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/** An outage of this database: every connection to it is cut and none is accepted, until disposed. */
export async function cutOff(store: Store): Promise<AsyncDisposable> {
  const admin = inject('databaseUrl')
  const name = new URL(store.url).pathname.slice(1)
  await onServer(admin, `ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS false`)
  await onServer(admin, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`)
  return {
    [Symbol.asyncDispose]: () => onServer(admin, `ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS true`),
  }
}
