import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '../../src/core/index.ts'
import {
  type EmbeddedPostgres,
  migrate,
  openStore,
  removeEmbeddedPostgres,
  type Store,
  startEmbeddedPostgres,
} from '../../src/store/index.ts'

/** A migrated database on a whole PostgreSQL of the caller's own, which may be stopped. */
export async function ownDatabase(): Promise<{ server: EmbeddedPostgres; store: Store } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-own-pg-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const server = await startEmbeddedPostgres({ folder, flags: ['fsync=off', 'synchronous_commit=off'] })
  stack.defer(() => removeEmbeddedPostgres(folder))
  stack.use(server)
  const store = stack.use(openStore({ url: server.url('postgres'), poolSize: 8, log: silentLog }))
  await migrate(store.db)
  const resources = stack.move()
  return { server, store, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}

/** As `testStore`, for a program that no test run has given a server. */
export async function ownStore(): Promise<Store> {
  const own = await ownDatabase()
  return { ...own.store, [Symbol.asyncDispose]: async () => await own[Symbol.asyncDispose]() }
}
