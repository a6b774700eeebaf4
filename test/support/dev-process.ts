import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))

/** What `npm run dev -- --json` prints when it is ready. */
export interface Ready {
  web: string
  mcp: string
  admin: string
  adminKey: string
  ca: string
  isolation: string
  pids: { gateway: number; egress: number; database: number }
}

export interface DevProcess {
  readonly ready: Ready
  readonly process: ChildProcess
  /** Everything it wrote to standard error, for tests that search it. */
  log(): string
  /** Runs a command of the command line against it, as a person would. */
  toolcrib(args: string[], stdin?: string): Promise<{ code: number; stdout: string; stderr: string }>
  /** A fresh token for Slack user `name`. */
  token(name: string, ...options: string[]): Promise<string>
  [Symbol.asyncDispose](): Promise<void>
}

/** `npm run dev -- --json` in a folder of its own, on ports of its own. */
export async function startDev(
  options: { folder?: string; environment?: Record<string, string> } = {},
): Promise<DevProcess> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'toolcrib-dev-')))
  const child = spawn(process.execPath, [entry, 'dev', '--json', '--folder', folder, '--port', '0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.environment },
  })
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
  const toolcrib: DevProcess['toolcrib'] = async (args, stdin) => {
    const running = promisify(execFile)(process.execPath, [entry, ...args], {
      env: { ...process.env, TOOLCRIB_URL: ready.admin, TOOLCRIB_ADMIN_KEY: ready.adminKey },
    })
    running.child.stdin?.end(stdin ?? '')
    return await running.then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => ({
        code: error.code,
        stdout: error.stdout,
        stderr: error.stderr,
      }),
    )
  }
  return {
    ready,
    process: child,
    log: () => log,
    toolcrib,
    async token(name, ...rest) {
      const issued = await toolcrib(['tokens', 'issue', '--for', name, ...rest])
      if (issued.code !== 0) throw new Error(`no token: ${issued.stderr}`)
      return issued.stdout.trim()
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGINT')
      await ended
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
    },
  }
}
