import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../src/core/index.ts'
import { alice, testAccess } from './access.ts'
import { testStore } from './database.ts'
import { runToolcrib } from './dev-process.ts'
import { processes } from './processes.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))
const fixtures = fileURLToPath(new URL('../toolhost/fixtures', import.meta.url))

/** `nasty` misbehaves on demand, `brief` is the same with little time. */
const sources = {
  nasty: { kind: 'stdio', command: 'node', args: [join(fixtures, 'nasty.mjs')], review: 'on_first_sight' },
  brief: {
    kind: 'stdio',
    command: 'node',
    args: [join(fixtures, 'nasty.mjs'), 'normal', 'brief'],
    review: 'on_first_sight',
    timeout_seconds: 2,
  },
  workspace: {
    kind: 'stdio',
    command: 'node',
    args: ['/opt/toolcrib/sources/workspace/server.ts'],
    review: 'on_first_sight',
  },
}

export interface ServeProcess {
  readonly url: string
  readonly folder: string
  /** Of the gateway that runs now. */
  pid(): number
  log(): string
  toolcrib(args: string[]): Promise<{ code: number; stdout: string; stderr: string }>
  token(): Promise<string>
  /** How many calls are in flight: they have a row and no outcome. */
  flying(): Promise<number>
  /** Ends the gateway without a word and starts another on the same database, folder and port. */
  killAndStartAgain(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * `toolcrib serve` and `toolcrib egress` as in production, each a process of its own, on a database of their own in
 * which Alice is known. There is no Slack; tokens come from the command line.
 */
export async function startServe(options: {
  config: Record<string, unknown>
  /** For the gateway and the proxy. */
  environment?: Record<string, string>
}): Promise<ServeProcess> {
  // What was started ends with it when the next does not start.
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-serve-'))
  stack.defer(async () => await rm(folder, { recursive: true, force: true }))
  const store = stack.use(await testStore({ poolSize: 2 }))
  {
    await using access = testAccess(store)
    await access.ensurePrincipal(alice)
  }
  const port = await freePort()
  const path = join(folder, 'toolcrib.yaml')
  const { sandbox, ...rest } = options.config as { sandbox?: object }
  const config = {
    state_dir: folder,
    listen: { port },
    sources,
    ...rest,
    sandbox: { read_only_paths: [fixtures], ...sandbox },
  }
  await writeFile(path, JSON.stringify(config))
  let log = ''
  const start = async (
    command: string,
    ...rest: string[]
  ): Promise<{ child: ChildProcess; line: string }> => {
    const child = spawn(process.execPath, [entry, command, '--config', path, ...rest], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DATABASE_URL: store.url, ...options.environment },
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
    const ended = once(child, 'exit').then(() => {
      throw new Error(`toolcrib ${command} ended: ${log}`)
    })
    ended.catch(() => undefined)
    const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended])) as [
      string,
    ]
    return { child, line }
  }
  const end = async (child: ChildProcess, signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  const egress = await start('egress')
  stack.defer(async () => await end(egress.child, 'SIGTERM'))
  let gateway = await start('serve', '--json')
  const url = `http://127.0.0.1:${port}`
  const { adminKey } = JSON.parse(gateway.line) as { adminKey: string }
  const toolcrib = async (args: string[]) =>
    await runToolcrib(args, { TOOLCRIB_URL: url, TOOLCRIB_ADMIN_KEY: adminKey })
  stack.defer(async () => {
    await end(gateway.child, 'SIGTERM')
    // Sandboxes of a server live on their own; these are nobody's any more.
    for (const { pid, commandLine } of await processes())
      if (commandLine.startsWith('flock ') && commandLine.includes(`${folder}/`)) process.kill(pid, 'SIGKILL')
  })
  const started = stack.move()
  return {
    url: `${url}/mcp`,
    folder,
    pid: () => gateway.child.pid ?? 0,
    log: () => log,
    toolcrib,
    async token() {
      const issued = await toolcrib(['tokens', 'issue', '--for', 'alice'])
      if (issued.code !== 0) throw new Error(`no token: ${issued.stderr}`)
      return issued.stdout.trim()
    },
    async flying() {
      const { rows } = await store.pool.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM calls WHERE outcome IS NULL`,
      )
      return rows[0]?.n ?? 0
    },
    async killAndStartAgain() {
      await end(gateway.child, 'SIGKILL')
      gateway = await start('serve', '--json')
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  }
}
