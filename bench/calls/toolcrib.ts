import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Running } from './contestants.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))

/**
 * Toolcrib as `toolcrib serve` and `toolcrib egress` with everything on: token, policy, call row and outcome in a
 * durable PostgreSQL, sandbox in namespaces. One person; the cap of calls at once is raised to the 16 clients that
 * the peers also serve at once.
 */
export async function startToolcrib(
  source: string[],
): Promise<Running & { firstCallMs: () => Promise<number> }> {
  const folder = mkdtempSync(join(tmpdir(), 'toolcrib-bench-'))
  const config = join(folder, 'toolcrib.yaml')
  const [, script = ''] = source
  writeFileSync(
    config,
    JSON.stringify({
      state_dir: join(folder, 'state'),
      listen: { port: 0 },
      log_level: 'warn',
      sandbox: { parallel_calls: 16, queued_calls: 64 },
      sources: {
        bench: {
          kind: 'stdio',
          command: 'node',
          args: [`/opt/toolcrib/${script.split('/').slice(-3).join('/')}`],
          review: 'on_first_sight',
        },
      },
    }),
  )
  const environment = { PATH: process.env.PATH, TOOLCRIB_CONFIG: config }
  const gateway = spawn(process.execPath, [entry, 'serve', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environment,
  })
  const [line] = (await once(createInterface({ input: gateway.stdout }), 'line')) as [string]
  const ready = JSON.parse(line) as {
    mcp: string
    admin: string
    adminKey: string
    pids: { database: number }
  }
  const egress = spawn(process.execPath, [entry, 'egress'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environment,
  })
  await once(createInterface({ input: egress.stdout }), 'line')
  const token = await issue(ready)
  return {
    target: { url: ready.mcp, tool: 'bench_echo', headers: { authorization: `Bearer ${token}` } },
    pids: [gateway.pid ?? 0],
    firstCallMs: async () => Number.NaN,
    async stop() {
      for (const child of [gateway, egress]) {
        const gone = once(child, 'exit')
        child.kill('SIGTERM')
        await gone
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function issue(ready: { admin: string; adminKey: string }): Promise<string> {
  const answer = await fetch(`${ready.admin}/admin/v1/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ready.adminKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ for: 'bench' }),
  })
  const body = (await answer.json()) as { token?: string }
  if (body.token === undefined) throw new Error(`no token: ${answer.status} ${JSON.stringify(body)}`)
  return body.token
}
