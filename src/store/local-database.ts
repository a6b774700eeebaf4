import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { AppError, type Log, refuseUnreadable } from '../core/index.ts'
import { hasOwner, startEmbeddedPostgres } from './embedded/server.ts'
import { demandReachable } from './reach.ts'

/** How long a server of another process is asked before it is said that it does not answer. */
const ownerAnswersMs = 10_000

export interface OpenDatabase {
  url: string
  /** Null when the database is somebody else's. */
  pid: number | null
  /** Settles, with what to say of it, once the data of an embedded one that this process runs are gone for good. */
  readonly gone: Promise<AppError>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * The database at `url`; when that is undefined, one that another process of ours runs
 * here, else an embedded one started now. The address of an embedded one is left in `database-url`, mode 0600.
 * Throws with what was given and the cure when it cannot be reached, when there is none and it may not be made, and when
 * this user may not read its address.
 */
export async function openDatabase(options: {
  url: string | undefined
  stateDir: string
  log: Log
  /** Whether an embedded one is made in a folder that has none; true when left out. */
  mayMake?: boolean
}): Promise<OpenDatabase> {
  const { stateDir, log, mayMake = true } = options
  if (options.url !== undefined) {
    await demandReachable(options.url)
    return borrowed(options.url)
  }
  const note = join(stateDir, 'database-url')
  const folder = join(stateDir, 'postgres')
  // One that runs and does not answer is starting, ending, or has much to do.
  const until = performance.now() + ownerAnswersMs
  while (performance.now() < until) {
    const known = await readNote(note)
    if (known !== undefined && (await answers(known))) return borrowed(known)
    if (!existsSync(folder) || !(await hasOwner(folder))) break
    await sleep(100)
  }
  if (!mayMake && !existsSync(folder))
    throw new AppError(
      'not_found',
      `no database in ${stateDir}; --config names another file, \`toolcrib serve\` makes one, and \`state_dir\` may name the folder of \`npm run dev\`, .toolcrib/dev`,
    )
  await mkdir(stateDir, { recursive: true })
  const server = await startEmbeddedPostgres({ folder })
  await createDatabase(server.url('postgres'))
  const url = server.url('toolcrib')
  await writeFile(note, url, { mode: 0o600 })
  log.info({ port: server.port }, 'embedded database started; set DATABASE_URL to use another')
  return {
    url,
    pid: server.pid,
    gone: server.gone,
    async [Symbol.asyncDispose]() {
      // Not that of another, which has made the same folder anew.
      if ((await readFile(note, 'utf8').catch(() => '')) === url) await rm(note, { force: true })
      await server[Symbol.asyncDispose]()
    },
  }
}

/** For a process that only joins: the embedded database must have been started by `toolcrib serve`. */
export async function joinDatabase(options: { url: string | undefined; stateDir: string }): Promise<string> {
  const { stateDir } = options
  if (options.url !== undefined) {
    await demandReachable(options.url)
    return options.url
  }
  const note = await readNote(join(stateDir, 'database-url'))
  if (note !== undefined && (await answers(note))) return note
  throw new AppError(
    'unavailable',
    `no database runs in ${stateDir}: set DATABASE_URL, or start \`toolcrib serve\` first for the embedded one`,
  )
}

/** Where the embedded database answers; undefined when nobody has written it. */
async function readNote(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch((cause: unknown) => {
    refuseUnreadable(cause, path, 'toolcrib serve')
    return undefined
  })
}

const borrowed = (url: string): OpenDatabase => ({
  url,
  pid: null,
  gone: new Promise(() => undefined),
  [Symbol.asyncDispose]: async () => undefined,
})

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 })
  try {
    await client.connect()
    await client.end()
    return true
  } catch {
    return false
  }
}

async function createDatabase(adminUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl })
  await client.connect()
  try {
    const { rowCount } = await client.query(`SELECT 1 FROM pg_database WHERE datname = 'toolcrib'`)
    if (rowCount === 0) await client.query('CREATE DATABASE toolcrib')
  } finally {
    await client.end()
  }
}
