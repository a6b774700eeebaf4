import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '../../src/core/index.ts'
import {
  migrate,
  openStore,
  removeEmbeddedPostgres,
  type Store,
  startEmbeddedPostgres,
} from '../../src/store/index.ts'

/** As `testStore`, of a PostgreSQL of the caller's own: for a program that no test run has given one. */
export async function ownStore(): Promise<Store> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-own-pg-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const server = await startEmbeddedPostgres({ folder, flags: ['fsync=off', 'synchronous_commit=off'] })
  stack.defer(() => removeEmbeddedPostgres(folder))
  stack.use(server)
  const store = stack.use(openStore({ url: server.url('postgres'), poolSize: 8, log: silentLog }))
  await migrate(store.db)
  const resources = stack.move()
  return { ...store, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}
