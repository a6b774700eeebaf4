import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Ready as Told } from '../../src/main-dev-ready.ts'
import { connectV1, textOf } from './clients.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))
const sample = new URL('../../toolcrib.dev.yaml', import.meta.url)

/** What `npm run dev -- --json` prints when it is ready; its database is always an embedded one. */
export type Ready = Told & { pids: { database: number } }

export interface DevProcess {
  readonly ready: Ready
  readonly folder: string
  readonly process: ChildProcess
  /** Everything it wrote to standard error, for tests that search it. */
  log(): string
  /** Runs a command of the command line against it, as a person would. */
  toolcrib(args: string[], stdin?: string): Promise<{ code: number; stdout: string; stderr: string }>
  /** A fresh token for Slack user `name`. */
  token(name: string, ...options: string[]): Promise<string>
  /** Does something on the newcomer's page: `say {as, text}`, `leave {as, gone}`, `messages?as=` without a body. */
  newcomer(path: string, body?: object): Promise<string>
  /** Where its database is. */
  databaseUrl(): Promise<string>
  /** Applies the sample configuration as `change` left its text, as `toolcrib apply` on this machine does. */
  apply(change: (sample: string) => string): Promise<void>
  /** Waits until it is gone after `signal`; answers its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  [Symbol.asyncDispose](): Promise<void>
}

/** `npm run dev -- --json` in a folder of its own, on ports of its own. */
export async function startDev(
  options: {
    folder?: string
    environment?: Record<string, string>
    /** Makes this run's configuration of the sample's text. */
    config?: (sample: string) => string
    arguments?: string[]
    /** In a process group of its own, as a terminal starts it. */
    detached?: boolean
  } = {},
): Promise<DevProcess> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'toolcrib-dev-')))
  const change = options.config ?? ((text: string) => text)
  const config = `${folder}.yaml`
  await writeFile(config, change(await readFile(sample, 'utf8')))
  const child = spawn(
    process.execPath,
    [entry, 'dev', '--json', '--folder', folder, '--port', '0', ...(options.arguments ?? [])],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TOOLCRIB_CONFIG: config, ...options.environment },
      detached: options.detached ?? false,
    },
  )
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const ended = once(child, 'exit')
  const ready = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(
      ([line]) => JSON.parse(String(line)) as Ready,
    ),
    ended.then(() => {
      throw new Error(`npm run dev ended: ${log}`)
    }),
  ])
  const toolcrib: DevProcess['toolcrib'] = async (args, stdin) =>
    await runToolcrib(args, { TOOLCRIB_URL: ready.admin, TOOLCRIB_ADMIN_KEY: ready.adminKey }, stdin)
  const databaseUrl = async () => await readFile(join(folder, 'database-url'), 'utf8')
  const stop: DevProcess['stop'] = async (signal = 'SIGINT') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await ended
    return child.exitCode
  }
  return {
    ready,
    folder,
    databaseUrl,
    stop,
    async newcomer(path, body) {
      const response = await fetch(
        `${ready.web}/newcomer/${path}`,
        body === undefined
          ? {}
          : {
              method: 'POST',
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify(body),
            },
      )
      const text = await response.text()
      if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`)
      return text
    },
    async apply(next) {
      const ports = JSON.parse(await readFile(join(folder, 'ports.json'), 'utf8')) as { orders: number }
      const path = `${folder}.applied.yaml`
      const text = next(change(await readFile(sample, 'utf8')))
      await writeFile(path, text.replaceAll('7443', String(ports.orders)))
      const applied = await runToolcrib(['apply', '--config', path], { DATABASE_URL: await databaseUrl() })
      await rm(path)
      if (applied.code !== 0) throw new Error(`apply failed: ${applied.stderr}`)
    },
    process: child,
    log: () => log,
    toolcrib,
    async token(name, ...rest) {
      const issued = await toolcrib(['tokens', 'issue', '--for', name, ...rest])
      if (issued.code !== 0) throw new Error(`no token: ${issued.stderr}`)
      return issued.stdout.trim()
    },
    async [Symbol.asyncDispose]() {
      await stop()
      await rm(config, { force: true })
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
    },
  }
}

/** What the demo's tool answers to whoever has `token`. */
export async function orders(dev: DevProcess, token: string): Promise<string> {
  await using client = await connectV1(dev.ready.mcp, token)
  return textOf(await client.call('orders_list_orders'))
}

/** One command of the command line, to its end. */
export async function runToolcrib(
  args: string[],
  environment: Record<string, string>,
  stdin = '',
): Promise<{ code: number; stdout: string; stderr: string }> {
  const running = promisify(execFile)(process.execPath, [entry, ...args], {
    env: { ...process.env, ...environment },
  })
  running.child.stdin?.end(stdin)
  return await running.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({
      code: error.code,
      stdout: error.stdout,
      stderr: error.stderr,
    }),
  )
}
