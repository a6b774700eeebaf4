import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ToolhostSettingsInput } from '../../wire/index.ts'
import { removeAbandoned } from './abandoned.ts'
import { toolPath } from './chain.ts'
import { composeCommand } from './compose.ts'
import { type Launched, launch } from './launch.ts'
import type { Layout } from './layout.ts'
import { generatedEtc, inside, planMounts } from './mounts.ts'
import { defaultFirstUserId, type LocalDriverOptions, type LocalIsolation } from './options.ts'

/** What Node compiled of our own programs, kept for every sandbox to come. */
export interface CompileCache {
  /** Shown read-only to toolhosts; undefined while there is none. */
  readonly folder: string | undefined
  /** Settles when the filling, if there was one, is through, and what a killed one left is gone. */
  readonly filled: Promise<void>
}

type Options = Omit<LocalDriverOptions, 'isolation'> & { isolation: LocalIsolation; layout: Layout }

const limitMs = 30_000
const workPrefix = 'toolcrib-compile-'

/**
 * Runs inside: starts the toolhost and the sample sources once, each until it is ready, and lets them end. Node
 * names its entries by path, version and user, so only a run in the same surroundings makes ones that fit. The user
 * is that inside, the same for every person. A process that was killed wrote nothing of what it had compiled: such
 * a filling exits with an error and is not kept, or every later sandbox would go without those entries for good. A
 * sample source that fails by itself only goes without its own.
 */
const fillScript = `
export NODE_COMPILE_CACHE=${inside.compileCache}
node ${inside.app}/src/toolhost/main.ts ${inside.settings} >/dev/null 2>&1 & toolhost=$!
for source in ${inside.app}/sources/*/server.ts; do
  [ -f "$source" ] && node "$source" </dev/null >/dev/null 2>&1
  [ $? -lt 128 ] || exit 1
done
waited=0
while [ ! -S ${inside.sockets}/toolhost.sock ] && [ $waited -lt 100 ]; do
  kill -0 $toolhost || exit 1
  sleep 0.1; waited=$((waited + 1))
done
[ -S ${inside.sockets}/toolhost.sock ] || exit 1
sleep 0.2
kill $toolhost; wait $toolhost
`

/**
 * The cache for this version of Node and of the program below the state directory, filled in the background when it
 * is not there. It is made by a run without a person, a network or a home that lasts, and no sandbox can write it:
 * what one left in it would run in all others. Without it everything works, more slowly.
 */
export async function openCompileCache(options: Options): Promise<CompileCache> {
  if (options.isolation === 'none' || options.compileCache === false)
    return { folder: undefined, filled: Promise.resolve() }
  const { layout, log } = options
  const all = join(layout.stateDir, 'compile-cache')
  const name = await fingerprint(options)
  const wanted = join(all, name)
  let folder = (await isThere(wanted)) ? wanted : undefined
  const fillNow = async () => {
    const started = performance.now()
    await fill(options, all, wanted)
    folder = wanted
    // One that another version still uses is as gone as a cache may be.
    for (const other of await readdir(all))
      if (other !== name) await rm(join(all, other), { recursive: true, force: true })
    log.info({ ms: Math.round(performance.now() - started) }, 'compile cache filled')
  }
  const filled =
    folder === undefined
      ? fillNow().catch((err: unknown) => log.warn({ err }, 'compile cache not filled; starts are slower'))
      : Promise.resolve()
  const leftovers = [
    removeAbandoned(tmpdir(), new RegExp(`^${workPrefix}`)),
    removeAbandoned(all, /^[0-9a-f]{16}\./),
  ]
  return {
    get folder() {
      return folder
    },
    filled: Promise.all([filled, ...leftovers]).then(() => undefined),
  }
}

async function fill(options: Options, all: string, wanted: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), workPrefix))
  const place = async (part: string) => {
    const path = join(work, part)
    await mkdir(path, { mode: 0o700 })
    return path
  }
  try {
    const [files, home, sockets, egress, cache] = [
      await place('files'),
      await place('home'),
      await place('sockets'),
      await place('egress'),
      await place('cache'),
    ]
    // Just below those that people's homes belong to, so that it is nobody's.
    const fillUserId = (options.firstUserId ?? defaultFirstUserId) - 1
    const asRoot = process.getuid?.() === 0
    await chmod(files, 0o755)
    await chmod(egress, 0o755)
    const settings: ToolhostSettingsInput = {
      sandboxUid: 'compile-cache',
      generation: 0,
      socketPath: `${inside.sockets}/toolhost.sock`,
      egressSocketPath: null,
      caFile: null,
      home: inside.home,
      probe: false,
      limits: { memoryBytes: 512 * 1024 * 1024, parallelCalls: 1, queuedCalls: 0 },
    }
    await writeFile(join(files, 'settings.json'), JSON.stringify(settings), { mode: 0o644 })
    for (const file of ['ca.pem', 'trust.pem', ...generatedEtc])
      await writeFile(join(files, file), '', { mode: 0o644 })
    if (asRoot)
      await promisify(execFile)('chown', [`${fillUserId}:${fillUserId}`, home, sockets, cache], {
        env: { PATH: toolPath },
      })
    const launched = await launch({
      marker: 'toolcrib-compile-cache',
      lock: join(work, 'lock'),
      log: join(work, 'log'),
      command: composeCommand({
        isolation: options.isolation,
        marker: 'toolcrib-compile-cache',
        lock: join(work, 'lock'),
        userId: asRoot ? fillUserId : undefined,
        mounts: [
          ...planMounts({
            ...options,
            egressSocketDir: egress,
            readOnlyPaths: [],
            hiddenPaths: [options.stateDir, ...(options.hiddenPaths ?? [])],
            home,
            sockets,
            files,
            scratchBytes: 64 * 1024 * 1024,
            compileCache: undefined,
          }),
          { kind: 'rw', from: cache, to: inside.compileCache },
        ],
        environment: { PATH: inside.path, HOME: inside.home, LANG: 'C.UTF-8', TMPDIR: '/tmp' },
        folder: '/',
        command: ['/bin/sh', '-c', fillScript],
      }),
      prepare: async () => [],
      signal: AbortSignal.timeout(limitMs),
      outlives: false,
      timeoutMs: limitMs,
    })
    if (launched.kind === 'held') throw new Error('a new folder of its own was locked')
    const code = await endedWithin(launched, limitMs)
    if (code !== 0) throw new Error(`the filling was cut off or failed (exit ${code})`)
    await keep(cache, all, wanted)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Its exit code; after `ms` it is killed, and with the first of the chain everything inside. */
async function endedWithin(run: Extract<Launched, { kind: 'up' }>, ms: number): Promise<number | null> {
  const timer = setTimeout(() => process.kill(run.head.pid, 'SIGKILL'), ms)
  try {
    return await run.ended
  } finally {
    clearTimeout(timer)
  }
}

/** Copies what was made, readable by every sandbox and owned by this process, in one step. */
async function keep(made: string, all: string, wanted: string): Promise<void> {
  const folders = (await readdir(made, { withFileTypes: true })).filter((entry) => entry.isDirectory())
  if (folders.length === 0) throw new Error('nothing was compiled')
  await mkdir(all, { recursive: true, mode: 0o700 })
  const draft = await mkdtemp(`${wanted}.`)
  await chmod(draft, 0o755)
  for (const folder of folders) {
    const [from, to] = [join(made, folder.name), join(draft, folder.name)]
    await mkdir(to)
    await chmod(to, 0o755)
    for (const file of await readdir(from)) {
      await writeFile(join(to, file), await readFile(join(from, file)))
      await chmod(join(to, file), 0o644)
    }
  }
  await rename(draft, wanted).catch(async (error: unknown) => {
    await rm(draft, { recursive: true, force: true })
    if (!(await isThere(wanted))) throw error // another gateway was faster; its cache is as good
  })
}

/** Node checks every entry against the text it was made of, so this only has to tell when most are of no use. */
async function fingerprint(options: { appDir: string; nodePath: string }): Promise<string> {
  const hash = createHash('sha256').update(process.version)
  for (const part of ['src/toolhost', 'src/core', 'src/wire', 'sources']) {
    const folder = join(options.appDir, part)
    const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
    for (const entry of entries.filter((one) => one.isFile()).toSorted(byPath)) {
      const path = join(entry.parentPath, entry.name)
      const { size, mtimeMs } = await stat(path)
      hash.update(`${path}\0${size}\0${mtimeMs}\0`)
    }
  }
  return hash.digest('hex').slice(0, 16)
}

function byPath(a: { parentPath: string; name: string }, b: { parentPath: string; name: string }): number {
  return join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}
