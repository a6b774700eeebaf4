import { access, mkdtemp, readdir, rm, stat, statfs } from 'node:fs/promises'
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

const prefix = 'toolcrib-test-pg-'
const memory = '/dev/shm'
/** No run takes so long to start its server. */
const abandonedMs = 600_000

/** What all databases that stand at one time take is a tenth of it. */
const roomBytes = 4 * 1024 ** 3

/**
 * Memory, where there is plenty. A database is some three hundred files, and nearly each test has one of its own: on a
 * disk making them is half of what the tests take.
 */
async function parentFolder(): Promise<string> {
  const room = await statfs(memory).catch(() => undefined)
  return room !== undefined && room.bavail * room.bsize > roomBytes ? memory : tmpdir()
}

/** An interrupted run leaves its folder, and memory is dearer than a disk; one without a server is nobody's. */
async function removeAbandoned(): Promise<void> {
  const names = await readdir(memory).catch(() => [])
  for (const folder of names.filter((name) => name.startsWith(prefix)).map((name) => join(memory, name))) {
    const isServed = await access(join(folder, 'data', 'postmaster.pid')).then(
      () => true,
      () => false,
    )
    // Another run may just have removed it.
    const { mtimeMs } = await stat(folder).catch(() => ({ mtimeMs: Date.now() }))
    if (!isServed && Date.now() - mtimeMs > abandonedMs) await rm(folder, { recursive: true, force: true })
  }
}

/**
 * One real PostgreSQL for the whole run, with a migrated database `template` that every test file clones
 * (`test/support/database.ts`). Durability is off: no test here is about losing power; those that kill the
 * database start their own.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeAbandoned()
  const folder = await mkdtemp(join(await parentFolder(), prefix))
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
