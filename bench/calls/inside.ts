import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { type Process, processTree } from '../processes.ts'
import { type ProfileSummary, summariseProfile } from '../profile.ts'
import { createClient } from './client.ts'
import { manyCalls, sequential } from './measure.ts'
import { startToolcrib } from './toolcrib.ts'

export interface Inside {
  queriesPerCall: number
  /** CPU per call of each process at 16 clients, µs. */
  cpuPerCall: Record<string, number>
  gatewayProfile: ProfileSummary
  firstCallMs: number[]
}

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Where a call's time goes in Toolcrib; a run of its own, because the profiler costs time too. */
export async function lookInside(script: string, calls: number): Promise<Inside> {
  const folder = mkdtempSync(join(tmpdir(), 'toolcrib-profile-'))
  try {
    const running = await startToolcrib(script, ['--cpu-prof', '--cpu-prof-dir', folder])
    let stopped = false
    try {
      const firstCallMs = await firstCalls(running, 5)
      const queriesPerCall = await countQueries(running, Math.min(calls, 1_000))
      await manyCalls(running.target, 16, calls / 4)
      const before = processTree(running.pids())
      await manyCalls(running.target, 16, calls)
      const cpuPerCall = spent(before, processTree(running.pids()), running.gateway, calls)
      await running.stop()
      stopped = true
      // The profile covers the whole life, warming up included, which makes each call a little dearer than it is.
      const all = calls * 1.25 + Math.min(calls, 1_000)
      return { queriesPerCall, cpuPerCall, gatewayProfile: summariseProfile(folder, root, all), firstCallMs }
    } finally {
      if (!stopped) await running.stop()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A call by a client that is connected already, while the person has no sandbox. */
async function firstCalls(
  running: Awaited<ReturnType<typeof startToolcrib>>,
  rounds: number,
): Promise<number[]> {
  const times: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const client = createClient(running.target)
    await client.open()
    await client.echo('warm')
    await running.stopSandbox()
    const start = performance.now()
    await client.echo(`first ${round}`)
    times.push(performance.now() - start)
    client.close()
  }
  return times
}

/** Transactions that the database saw per call of one client, without those that also come when nobody calls. */
async function countQueries(
  { databaseUrl, target }: { databaseUrl: string; target: Parameters<typeof sequential>[0] },
  calls: number,
): Promise<number> {
  const watcher = new pg.Client({ connectionString: databaseUrl })
  await watcher.connect()
  const seen = async (): Promise<number> => {
    // Idle sessions report what they did within ten seconds.
    await sleep(11_000)
    const { rows } = await watcher.query<{ n: string }>(
      'SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = current_database()',
    )
    return Number(rows[0]?.n)
  }
  try {
    const idleFrom = await seen()
    const before = await seen()
    const start = performance.now()
    await sequential(target, calls - 100)
    const seconds = (performance.now() - start) / 1_000 + 11
    return ((await seen()) - before - ((before - idleFrom) * seconds) / 11) / calls
  } finally {
    await watcher.end()
  }
}

function spent(before: Process[], after: Process[], gateway: number, calls: number): Record<string, number> {
  const earlier = new Map(before.map(({ pid, cpuMs }) => [pid, cpuMs]))
  const sums: Record<string, number> = {}
  for (const { pid, command, cpuMs } of after) {
    const part = pid === gateway ? 'gateway' : partOf(command)
    sums[part] = (sums[part] ?? 0) + ((cpuMs - (earlier.get(pid) ?? 0)) * 1_000) / calls
  }
  return Object.fromEntries(
    Object.entries(sums)
      .map(([part, microseconds]) => [part, Math.round(microseconds)] as const)
      .filter(([, microseconds]) => microseconds > 0)
      .toSorted((a, b) => b[1] - a[1]),
  )
}

function partOf(command: string): string {
  if (command.includes('echo-source') && !command.includes('bwrap')) return 'source'
  if (command.includes('toolhost')) return 'toolhost'
  if (command.includes('postgres')) return 'database'
  if (command.includes(' egress')) return 'egress proxy'
  return 'other'
}
