import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { expect, test, vi } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { openDatabase, removeEmbeddedPostgres, startEmbeddedPostgres } from '../../src/store/index.ts'
import { pauseProcesses } from '../support/paused.ts'

test('the embedded database keeps its data over a restart, and forgets it when told', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-embedded-'))
  {
    await using server = await startEmbeddedPostgres({ folder })
    expect(await query(server.url('postgres'), 'CREATE TABLE kept AS SELECT 7 AS number')).toEqual([])
  }
  {
    await using server = await startEmbeddedPostgres({ folder })
    expect(await query(server.url('postgres'), 'SELECT number FROM kept')).toEqual([{ number: 7 }])
  }
  await removeEmbeddedPostgres(folder)
  await using server = await startEmbeddedPostgres({ folder })
  expect(await query(server.url('postgres'), `SELECT to_regclass('kept') AS kept`)).toEqual([{ kept: null }])
})

test('the embedded database keeps its port from start to start, and takes another where that is taken', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-embedded-'))
  const start = async () => {
    await using server = await startEmbeddedPostgres({ folder })
    return server.port
  }
  const first = await start()
  expect(await start()).toBe(first)
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(first, '127.0.0.1', resolve))
  const moved = await start()
  await new Promise((resolve) => other.close(resolve))
  expect(moved).not.toBe(first)
  expect(await start()).toBe(moved)
  await removeEmbeddedPostgres(folder)
})

test('the embedded database comes back by itself, at the same place, when it is killed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-embedded-'))
  {
    await using server = await startEmbeddedPostgres({ folder })
    await query(server.url('postgres'), 'CREATE TABLE kept AS SELECT 7 AS number')
    process.kill(server.pid, 'SIGKILL')
    await vi.waitFor(
      async () =>
        expect(await query(server.url('postgres'), 'SELECT number FROM kept')).toEqual([{ number: 7 }]),
      { timeout: 20_000, interval: 100 },
    )
  }
  {
    await using server = await startEmbeddedPostgres({ folder })
    process.kill(server.guardianPid, 'SIGKILL')
    expect(existsSync(`/proc/${server.pid}`)).toBe(true)
  }
  await removeEmbeddedPostgres(folder)
})

test('the embedded database starts beside a stale lock file that names a living process', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-embedded-'))
  await chmod(folder, 0o711)
  await using left = await startEmbeddedPostgres({ folder })
  const lockFile = join(folder, 'data', 'postmaster.pid')
  const lock = await readFile(lockFile, 'utf8')
  process.kill(left.guardianPid, 'SIGKILL')
  process.kill(left.pid, 'SIGKILL')
  await vi.waitFor(async () =>
    expect(await query(left.url('postgres'), 'SELECT').catch(() => 'away')).toBe('away'),
  )
  await writeFile(lockFile, lock.replace(String(left.pid), String(process.ppid)))
  {
    await using server = await startEmbeddedPostgres({ folder })
    expect(await query(server.url('postgres'), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  }
  await removeEmbeddedPostgres(folder)
})

test('a database of a living process that does not answer is waited for and joined, and not ended', async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'toolcrib-embedded-'))
  await using owner = await openDatabase({ url: undefined, stateDir, log: silentLog })
  const pid = owner.pid ?? 0
  let joining: ReturnType<typeof openDatabase>
  {
    using _still = pauseProcesses([pid])
    joining = openDatabase({ url: undefined, stateDir, log: silentLog, mayMake: false })
    // The first question is given up after a second.
    await sleep(1_500)
  }
  await using joined = await joining
  expect([joined.url, joined.pid]).toEqual([owner.url, null])
  expect(existsSync(`/proc/${pid}`)).toBe(true)
  expect(await query(owner.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
}, 60_000)

test('the embedded database ends when its owner is killed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-embedded-'))
  // Prints the server's process id, which only its owner knows.
  const program = `
    import { startEmbeddedPostgres } from ${JSON.stringify(new URL('../../src/store/index.ts', import.meta.url).href)}
    console.log((await startEmbeddedPostgres({ folder: ${JSON.stringify(folder)} })).pid)
    setInterval(() => undefined, 1000)`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface({ input: owner.stdout }), 'line')) as [string]
  expect(existsSync(`/proc/${line}`)).toBe(true)
  owner.kill('SIGKILL')
  await vi.waitFor(() => expect(existsSync(`/proc/${line}`)).toBe(false), { timeout: 10_000 })
  await removeEmbeddedPostgres(folder)
})

async function query(url: string, statement: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(statement)).rows as unknown[]
  } finally {
    await client.end()
  }
}
