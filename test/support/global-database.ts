import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { silentLog } from '../../src/core/index.ts'
import { migrate, openStore, removeEmbeddedPostgres, startEmbeddedPostgres } from '../../src/store/index.ts'

declare module 'vitest' {
  interface ProvidedContext {
    databaseUrl: string
  }
}

/** What all databases that stand at one time take is a tenth of it. */
const roomBytes = 4 * 1024 ** 3

/**
 * Memory, where there is plenty. A database is some three hundred files, and nearly each test has one of its own: on a
 * disk making them is half of what the tests take.
 */
async function parentFolder(): Promise<string> {
  const memory = '/dev/shm'
  const room = await statfs(memory).catch(() => undefined)
  return room !== undefined && room.bavail * room.bsize > roomBytes ? memory : tmpdir()
}

/**
 * One real PostgreSQL for the whole run, with a migrated database `template` that every test file clones
 * (`test/support/database.ts`). Durability is off: no test here is about losing power; those that kill the
 * database start their own.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(await parentFolder(), 'toolcrib-test-pg-'))
  const server = await startEmbeddedPostgres({
    folder,
    flags: ['fsync=off', 'synchronous_commit=off', 'max_wal_size=256MB', 'max_connections=300'],
  })
  const admin = new pg.Client({ connectionString: server.url('postgres') })
  await admin.connect()
  await admin.query('CREATE DATABASE template')
  await admin.end()
  {
    await using store = openStore({ url: server.url('template'), poolSize: 1, log: silentLog })
    await migrate(store.db)
  }
  project.provide('databaseUrl', server.url('postgres'))
  return async () => {
    await server[Symbol.asyncDispose]()
    await removeEmbeddedPostgres(folder)
    await rm(folder, { recursive: true, force: true })
  }
}
