import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../src/core/index.ts'
import { end } from './helpers.ts'
import { credential, freshHosts, host } from './names.ts'
import { type Ours, prepareOurs } from './ours.ts'
import type { UpstreamPorts } from './upstream.ts'
import type { Target } from './wire.ts'

/** One proxy that runs; `pid` is 0 where there is none. */
export interface Running {
  way: Omit<Target, 'host' | 'port'>
  pid: number
  stop: () => Promise<void>
}

export interface Contestant {
  name: string
  /** How much of each measure it can bear in the time there is; 1 is all of it. */
  share: number
  start: () => Promise<Running>
  /** Why it cannot run here. */
  missing?: string
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const peers = here('../peers')
const mitmproxyVersion = '11.0.2'
const venv = join(tmpdir(), `toolcrib-bench-mitmproxy-${mitmproxyVersion}`)

/** Every contestant, ready to be started; peers are installed first, and left out with the reason where they cannot. */
export async function prepare(
  stack: AsyncDisposableStack,
  upstream: { ports: UpstreamPorts; ca: string },
): Promise<{ contestants: Contestant[]; ours: Ours }> {
  const ours = stack.use(await prepareOurs(upstream.ports, upstream.ca))
  const missing = { mockttp: installMockttp(), mitmproxy: installMitmproxy() }
  const contestants: Contestant[] = [
    {
      name: 'direct',
      share: 1,
      start: async () => ({ way: { ca: upstream.ca, credential }, pid: 0, stop: async () => undefined }),
    },
    { name: 'bare Node (floor)', share: 1, start: async () => await startNode('floor.ts', upstream.ca) },
    {
      name: 'Toolcrib',
      share: 1,
      start: async () => {
        const { stop, pid, ...way } = await ours.start()
        return { way, pid, stop }
      },
    },
    {
      name: 'mockttp 4.6.5',
      share: 0.5,
      start: async () => await startNode('mockttp.ts', upstream.ca),
      ...missing.mockttp,
    },
    {
      name: `mitmproxy ${mitmproxyVersion}`,
      share: 0.5,
      start: async () => await startMitmproxy(upstream.ca),
      ...missing.mitmproxy,
    },
  ]
  return { contestants, ours }
}

function installMockttp(): { missing?: string } {
  if (existsSync(join(peers, 'node_modules/mockttp'))) return {}
  try {
    execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', peers], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    return {}
  } catch {
    return { missing: 'npm cannot fetch it' }
  }
}

function installMitmproxy(): { missing?: string } {
  if (existsSync(join(venv, 'bin/mitmdump'))) return {}
  const stdio = ['ignore', 'ignore', 'inherit'] as const
  try {
    execFileSync('python3', ['-m', 'venv', venv], { stdio: [...stdio] })
    execFileSync(join(venv, 'bin/pip'), ['install', '-q', `mitmproxy==${mitmproxyVersion}`], {
      stdio: [...stdio],
    })
    return {}
  } catch {
    return { missing: 'python3 with venv and pip is not here' }
  }
}

/** A program of this folder that prints where it listens and which CA it signs with. */
async function startNode(script: string, upstreamCa: string): Promise<Running> {
  const child = spawn(process.execPath, ['--import', here('loopback-names.ts'), here(script), upstreamCa], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const { port, ca } = JSON.parse(line) as { port: number; ca: string }
  return { way: { proxy: port, ca }, pid: child.pid ?? 0, stop: async () => await end(child) }
}

/** `mitmdump` as it comes, with its own option for a header. */
async function startMitmproxy(upstreamCa: string): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'toolcrib-bench-mitm-'))
  const caFile = join(folder, 'upstream.pem')
  writeFileSync(caFile, upstreamCa)
  const port = await freePort()
  const named = [host.api, ...freshHosts].map((name) => name.replaceAll('.', '\\.')).join('|')
  const options = [
    `confdir=${folder}`,
    'listen_host=127.0.0.1',
    `listen_port=${port}`,
    `ssl_verify_upstream_trusted_ca=${caFile}`,
    `modify_headers=/~q & ~d "^(${named})"/authorization/${credential}`,
  ]
  const child = spawn(
    join(venv, 'bin/mitmdump'),
    ['-q', '-s', here('mitmproxy_loopback.py'), ...options.flatMap((option) => ['--set', option])],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { PATH: process.env.PATH, HOME: folder, PYTHONDONTWRITEBYTECODE: '1' },
    },
  )
  await reachable(port, child)
  return {
    way: { proxy: port, ca: readFileSync(join(folder, 'mitmproxy-ca-cert.pem'), 'utf8') },
    pid: child.pid ?? 0,
    async stop() {
      await end(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function reachable(port: number, child: ChildProcess): Promise<void> {
  for (let look = 0; look < 200; look++) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    const socket = connect(port, '127.0.0.1')
    const isThere = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
    })
    socket.destroy()
    if (isThere) return
    await sleep(100)
  }
  throw new Error('it did not listen within 20 s')
}
