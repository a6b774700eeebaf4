import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { processTree, residentMemory } from '../processes.ts'
import type { Contestant, Running } from './contestants.ts'
import type { Driver } from './helpers.ts'
import type { Latency } from './loops.ts'
import { freshHosts, host } from './names.ts'
import type { UpstreamPorts } from './upstream.ts'
import type { Target } from './wire.ts'

export interface Sizes {
  rounds: number
  sequential: number
  tunnels: number
  seconds: number
  newTunnels: number
  newHosts: number
  streams: number
  mebibytes: number
  idleTunnels: number
}

export const sizes: Record<'full' | 'quick', Sizes> = {
  full: {
    rounds: 3,
    sequential: 2_000,
    tunnels: 32,
    seconds: 5,
    newTunnels: 100,
    newHosts: 15,
    streams: 11,
    mebibytes: 300,
    idleTunnels: 1_000,
  },
  quick: {
    rounds: 1,
    sequential: 300,
    tunnels: 32,
    seconds: 2,
    newTunnels: 20,
    newHosts: 5,
    streams: 2,
    mebibytes: 30,
    idleTunnels: 100,
  },
}

/** `peak`: MiB resident at most, of the proxy's process. */
export interface Transfers {
  down: { ms: number; peak: number | undefined }
  up: { ms: number; peak: number | undefined }
}

export interface Measured {
  name: string
  missing?: string
  /** One entry a round, as in everything below. */
  sequential: Latency[]
  parallel: (Latency & { perSecond: number; cpuMicroseconds: number })[]
  newTunnel: Latency[]
  newHost: Latency[]
  sse: Latency[]
  ndjson: Latency[]
  transfers?: Transfers
  /** KiB. */
  idleTunnel?: number
}

export interface Bench {
  driver: Driver
  ports: UpstreamPorts
  size: Sizes
  say: (line: string) => void
}

/** Every contestant in every round, each started anew, the order turning; then two more lives of each for memory. */
export async function runAll(bench: Bench, contestants: Contestant[]): Promise<Measured[]> {
  const { size, say } = bench
  const results = contestants.map(
    ({ name, missing }): Measured => ({
      name,
      ...(missing === undefined ? {} : { missing }),
      sequential: [],
      parallel: [],
      newTunnel: [],
      newHost: [],
      sse: [],
      ndjson: [],
    }),
  )
  for (let round = 0; round <= size.rounds + 1; round += 1) {
    for (let turn = 0; turn < contestants.length; turn += 1) {
      const index = (turn + round) % contestants.length
      const contestant = contestants[index]
      const result = results[index]
      if (contestant === undefined || result === undefined || result.missing !== undefined) continue
      const running = await contestant.start()
      try {
        if (round < size.rounds) await measureRound(bench, contestant, running, result)
        else if (round === size.rounds) result.transfers = await measureTransfers(bench, running)
        else if (running.pid !== 0) result.idleTunnel = await measureIdle(bench, running)
      } finally {
        await running.stop()
      }
      say(saidOf(result, round, size.rounds))
    }
  }
  return results
}

function saidOf(result: Measured, round: number, rounds: number): string {
  const last = result.parallel.at(-1)
  if (round < rounds)
    return `round ${round + 1}: ${result.name}: p50 ${result.sequential.at(-1)?.p50.toFixed(2)} ms, ${last?.perSecond.toFixed(0)} requests/s, ${last?.cpuMicroseconds.toFixed(0)} µs`
  return round === rounds
    ? `transfers: ${result.name}: ${result.transfers?.down.peak?.toFixed(0) ?? '–'} MiB`
    : `idle tunnels: ${result.name}: ${result.idleTunnel?.toFixed(0) ?? '–'} KiB`
}

async function measureRound(
  { driver, ports, size }: Bench,
  { share }: Contestant,
  running: Running,
  result: Measured,
): Promise<void> {
  const fast: Target = { ...running.way, host: host.api, port: ports.fast }
  const full: Target = { ...fast, port: ports.full }
  result.newHost.push(await driver.do('newTunnels', fast, size.newHosts, freshHosts))
  result.sequential.push(await driver.do('sequential', fast, size.sequential * share))
  await driver.do('parallel', fast, size.tunnels, size.seconds / 4)
  const before = cpuMs(running.pid)
  const many = await driver.do('parallel', fast, size.tunnels, size.seconds)
  const cpuMicroseconds = ((cpuMs(running.pid) - before) * 1_000) / many.requests
  result.parallel.push({ ...many, cpuMicroseconds })
  result.newTunnel.push(await driver.do('newTunnels', fast, size.newTunnels))
  // One person's: ours shares no connection to an upstream between people.
  const own: Target = { ...full, identities: full.identities?.slice(0, 1) ?? [] }
  result.sse.push(await driver.do('firstEvent', own, '/sse', size.streams))
  result.ndjson.push(await driver.do('firstEvent', own, '/ndjson', size.streams))
}

/** The peaks of long transfers; a life of its own, as memory that was given back to malloc is not to the system. */
async function measureTransfers({ driver, ports, size }: Bench, running: Running): Promise<Transfers> {
  const full: Target = { ...running.way, host: host.api, port: ports.full }
  // A first request, so that what is loaded once is not counted.
  await driver.do('down', full, 1)
  const measure = async (way: 'down' | 'up') => {
    if (running.pid !== 0) forgetPeak(running.pid)
    const ms = await driver.do(way, full, size.mebibytes)
    return { ms, peak: running.pid === 0 ? undefined : peakMiB(running.pid) }
  }
  return { down: await measure('down'), up: await measure('up') }
}

/** KiB of one idle tunnel. */
async function measureIdle({ driver, ports, size }: Bench, running: Running): Promise<number> {
  const fast: Target = { ...running.way, host: host.api, port: ports.fast }
  await driver.do('newTunnels', fast, 20)
  await sleep(500)
  const before = residentMemory(running.pid)
  await driver.do('idle', { ...fast, port: ports.full }, size.idleTunnels)
  await sleep(500)
  const idle = ((residentMemory(running.pid) - before) * 1_024) / size.idleTunnels
  await driver.do('release')
  return idle
}

/** User and system time of a process and what it started. */
function cpuMs(pid: number): number {
  return pid === 0 ? 0 : processTree([pid]).reduce((sum, one) => sum + one.cpuMs, 0)
}

function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

function peakMiB(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(text)?.[1]) / 1_024
}
