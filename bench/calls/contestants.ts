import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../src/core/index.ts'
import type { Target } from './client.ts'
import { answers, type Running } from './running.ts'
import { startToolcrib } from './toolcrib.ts'

export interface Contestant {
  name: string
  /** supergateway makes a process a session, of 45 MiB each. */
  maxSessions: number
  start(): Promise<Running>
  /** Why it cannot run here. */
  missing?: string
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const script = here('echo-source.ts')
const source = [process.execPath, script]
const peers = here('../peers')
const venv = join(tmpdir(), 'toolcrib-bench-mcp-proxy-0.13.0')

/** Installs what is compared with: two npm packages beside this file, one PyPI package in a temporary folder. */
export function installPeers(): void {
  if (!existsSync(join(peers, 'node_modules/mcp-proxy')))
    execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', peers], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  if (existsSync(join(venv, 'bin/mcp-proxy'))) return
  const stdio = ['ignore', 'ignore', 'inherit'] as const
  try {
    execFileSync('python3', ['-m', 'venv', venv], { stdio: [...stdio] })
    execFileSync(join(venv, 'bin/pip'), ['install', '-q', 'mcp-proxy==0.13.0'], { stdio: [...stdio] })
  } catch {
    const python = contestants.find(({ name }) => name.includes('PyPI'))
    if (python !== undefined) python.missing = 'python3 with venv and pip is not here'
  }
}

export const contestants: Contestant[] = [
  {
    name: 'bare SDK v2',
    maxSessions: 10_000,
    start: async () => {
      const port = await freePort()
      return await serve([process.execPath, here('bare-server.ts'), String(port)], port)
    },
  },
  {
    name: 'mcp-proxy (npm) 6.7.19',
    maxSessions: 10_000,
    start: async () => {
      const port = await freePort()
      const bin = join(peers, 'node_modules/.bin/mcp-proxy')
      return await serve(
        [bin, '--host', '127.0.0.1', '--port', String(port), '--server', 'stream', '--', ...source],
        port,
      )
    },
  },
  {
    name: 'supergateway 4.0.0 stateful',
    maxSessions: 120,
    start: async () => {
      const port = await freePort()
      // It knows no option for the address, so that a preload keeps it on loopback.
      const bin = join(peers, 'node_modules/supergateway/dist/index.js')
      const options = [
        '--outputTransport',
        'streamableHttp',
        '--stateful',
        '--port',
        String(port),
        '--logLevel',
        'none',
      ]
      return await serve(
        [
          process.execPath,
          '--import',
          here('loopback-only.ts'),
          bin,
          '--stdio',
          source.join(' '),
          ...options,
        ],
        port,
      )
    },
  },
  {
    name: 'mcp-proxy (PyPI) 0.13.0',
    maxSessions: 10_000,
    start: async () => {
      const port = await freePort()
      return await serve(
        [join(venv, 'bin/mcp-proxy'), '--host', '127.0.0.1', '--port', String(port), ...source],
        port,
      )
    },
  },
  { name: 'Toolcrib', maxSessions: 10_000, start: async () => await startToolcrib(script) },
]

async function serve(command: string[], port: number): Promise<Running> {
  const child = spawn(command[0] ?? '', command.slice(1), { stdio: 'ignore', detached: true })
  const target: Target = { url: `http://127.0.0.1:${port}/mcp`, tool: 'echo', headers: {} }
  await answers(target, child)
  return {
    target,
    pids: () => [child.pid ?? 0],
    async stop() {
      const gone = new Promise((done) => child.once('exit', done))
      if (child.exitCode === null && child.pid !== undefined) {
        process.kill(-child.pid, 'SIGKILL')
        await gone
      }
    },
  }
}
