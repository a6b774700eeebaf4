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
    streams: 5,
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

export interface Memory {
  downMs: number
  upMs: number
  /** MiB resident at most, of the proxy's process. */
  downPeak?: number
  upPeak?: number
  /** KiB of one idle tunnel. */
  idleTunnel?: number
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
  memory?: Memory
}

export interface Bench {
  driver: Driver
  ports: UpstreamPorts
  size: Sizes
  say: (line: string) => void
}

/** Every contestant in every round, each started anew, the order turning; then one more life of each for memory. */
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
  for (let round = 0; round <= size.rounds; round += 1) {
    for (let turn = 0; turn < contestants.length; turn += 1) {
      const index = (turn + round) % contestants.length
      const contestant = contestants[index]
      const result = results[index]
      if (contestant === undefined || result === undefined || result.missing !== undefined) continue
      const running = await contestant.start()
      try {
        if (round < size.rounds) await measureRound(bench, contestant, running, result)
        else result.memory = await measureMemory(bench, running)
      } finally {
        await running.stop()
      }
      const last = result.parallel.at(-1)
      say(
        round < size.rounds
          ? `round ${round + 1}: ${contestant.name}: p50 ${result.sequential.at(-1)?.p50.toFixed(2)} ms, ${last?.perSecond.toFixed(0)} requests/s, ${last?.cpuMicroseconds.toFixed(0)} µs`
          : `memory: ${contestant.name}: ${result.memory?.downPeak?.toFixed(0) ?? '–'} MiB`,
      )
    }
  }
  return results
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
  result.sse.push(await driver.do('firstEvent', full, '/sse', size.streams))
  result.ndjson.push(await driver.do('firstEvent', full, '/ndjson', size.streams))
}

async function measureMemory({ driver, ports, size }: Bench, running: Running): Promise<Memory> {
  const full: Target = { ...running.way, host: host.api, port: ports.full }
  // A first request, so that what is loaded once is not counted.
  await driver.do('down', full, 1)
  if (running.pid === 0)
    return {
      downMs: await driver.do('down', full, size.mebibytes),
      upMs: await driver.do('up', full, size.mebibytes),
    }
  // Before the tunnels: what they leave behind would count as the transfer's.
  forgetPeak(running.pid)
  const downMs = await driver.do('down', full, size.mebibytes)
  const downPeak = peakMiB(running.pid)
  forgetPeak(running.pid)
  const upMs = await driver.do('up', full, size.mebibytes)
  const upPeak = peakMiB(running.pid)
  await driver.do('newTunnels', { ...full, port: ports.fast }, 20)
  await sleep(500)
  const before = residentMemory(running.pid)
  await driver.do('idle', full, size.idleTunnels)
  await sleep(500)
  const idleTunnel = ((residentMemory(running.pid) - before) * 1_024) / size.idleTunnels
  await driver.do('release')
  return { downMs, upMs, downPeak, upPeak, idleTunnel }
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
