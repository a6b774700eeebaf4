import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createLog, newId } from '../../src/core/index.ts'
import { openStore, upsertPerson } from '../../src/store/index.ts'
import { processesNaming } from '../processes.ts'
import { answers, type Running } from './running.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const entry = join(root, 'bin/toolcrib.mjs')
const person = 'bench'

export interface RunningToolcrib extends Running {
  gateway: number
  databaseUrl: string
  isolation: string
  /** Ends the person's sandbox, so that the next call is a first one. */
  stopSandbox(): Promise<void>
}

interface Ready {
  mcp: string
  admin: string
  adminKey: string
  isolation: string
}

/**
 * Toolcrib as `toolcrib serve` and `toolcrib egress` with everything on: token, policy, call row and outcome in a
 * durable PostgreSQL, sandbox in namespaces. One person; the cap of calls at once is raised to the 16 clients that
 * the peers also serve at once. `nodeOptions` are for the gateway's Node.
 */
export async function startToolcrib(script: string, nodeOptions: string[] = []): Promise<RunningToolcrib> {
  const folder = mkdtempSync(join(tmpdir(), 'toolcrib-bench-'))
  const config = join(folder, 'toolcrib.yaml')
  writeFileSync(
    config,
    JSON.stringify({
      state_dir: join(folder, 'state'),
      listen: { port: 0 },
      log_level: 'warn',
      sandbox: {
        parallel_calls: 16,
        queued_calls: 64,
        // The source and what it imports; the rest of the checkout stays outside.
        read_only_paths: [join(root, 'bench/calls'), join(root, 'node_modules'), join(root, 'package.json')],
      },
      sources: { bench: { kind: 'stdio', command: 'node', args: [script], review: 'on_first_sight' } },
    }),
  )
  const environment = { PATH: process.env.PATH, TOOLCRIB_CONFIG: config }
  const start = (...args: string[]) =>
    spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env: environment })
  const gateway = start(...nodeOptions, entry, 'serve', '--json')
  const [line] = (await once(createInterface({ input: gateway.stdout }), 'line')) as [string]
  const ready = JSON.parse(line) as Ready
  const egress = start(entry, 'egress')
  await once(createInterface({ input: egress.stdout }), 'line')

  const databaseUrl = readFileSync(join(folder, 'state/database-url'), 'utf8')
  await addPerson(databaseUrl)
  const { token } = (await ask(ready, '/tokens', { for: person })) as { token: string }
  const target = { url: ready.mcp, tool: 'bench_echo', headers: { authorization: `Bearer ${token}` } }
  await answers(target, gateway)
  return {
    target,
    gateway: gateway.pid ?? 0,
    databaseUrl,
    isolation: ready.isolation,
    // Sandboxes are no children of the gateway: they outlive it.
    pids: () => [gateway.pid ?? 0, egress.pid ?? 0, ...processesNaming(folder)],
    async stopSandbox() {
      const { id } = (await ask(ready, `/runners/${person}/stop`, {})) as { id: string }
      for (let look = 0; look < 600; look += 1) {
        const { runners } = (await ask(ready, '/runners')) as { runners: { id: string; state: string }[] }
        if (runners.find((runner) => runner.id === id)?.state === 'stopped') return
        await sleep(50)
      }
      throw new Error('the sandbox did not stop within 30 s')
    },
    async stop() {
      await ask(ready, `/runners/${person}/stop`, {}).catch(() => undefined)
      for (const child of [gateway, egress]) {
        const gone = once(child, 'exit')
        child.kill('SIGTERM')
        await gone
      }
      for (const pid of processesNaming(folder)) process.kill(pid, 'SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The person, as if Slack had told of them. */
async function addPerson(databaseUrl: string): Promise<void> {
  await using store = openStore({
    url: databaseUrl,
    poolSize: 1,
    log: createLog({ level: 'warn', name: 'bench' }),
  })
  await upsertPerson(store.db, { id: newId('prn'), slackTeam: 'T0BENCH', slackUser: 'U0BENCH', name: person })
}

async function ask(ready: Ready, path: string, body?: object): Promise<unknown> {
  const answer = await fetch(`${ready.admin}/admin/v1${path}`, {
    headers: { authorization: `Bearer ${ready.adminKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${text.slice(0, 300)}`)
  return JSON.parse(text)
}
