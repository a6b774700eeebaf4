import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { processTree, residentMemory } from '../processes.ts'
import type { Contestant, Running } from './contestants.ts'
import type { Driver } from './helpers.ts'
import { freshHosts, host } from './names.ts'
import type { UpstreamPorts } from './upstream.ts'
import type { Target } from './wire.ts'

/** What one contestant is asked to do in a round; what has many parts is cut into `slices`. */
export interface Sizes {
  rounds: number
  slices: number
  sequential: number
  tunnels: number
  /** Of 32 tunnels before anything but new hosts is measured, and while it is. */
  warmSeconds: number
  seconds: number
  newTunnels: number
  /** Of those that a proxy just started is asked first, and those that are new to it once it has been running. */
  firstHosts: number
  newHosts: number
  streams: number
  mebibytes: number
  idleTunnels: number
}

export const sizes: Record<'full' | 'quick', Sizes> = {
  full: {
    rounds: 3,
    slices: 4,
    sequential: 2_000,
    tunnels: 32,
    warmSeconds: 5,
    seconds: 5,
    newTunnels: 100,
    firstHosts: 5,
    newHosts: 12,
    streams: 10,
    mebibytes: 300,
    idleTunnels: 1_000,
  },
  quick: {
    rounds: 1,
    slices: 2,
    sequential: 300,
    tunnels: 32,
    warmSeconds: 1,
    seconds: 2,
    newTunnels: 20,
    firstHosts: 3,
    newHosts: 4,
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

/** Milliseconds. */
export interface Latency {
  p50: number
  p99: number
}

export interface Measured {
  name: string
  missing?: string
  /** One entry a round, as in everything below. */
  sequential: Latency[]
  parallel: (Latency & { requests: number; perSecond: number; cpuMicroseconds: number })[]
  newTunnel: Latency[]
  firstHost: Latency[]
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

/** Every contestant in every round, all alive at once and taking turns; then two more lives of each for memory. */
export async function runAll(bench: Bench, contestants: Contestant[]): Promise<Measured[]> {
  const { size, say } = bench
  const results = contestants.map(
    ({ name, missing }): Measured => ({
      name,
      ...(missing === undefined ? {} : { missing }),
      sequential: [],
      parallel: [],
      newTunnel: [],
      firstHost: [],
      newHost: [],
      sse: [],
      ndjson: [],
    }),
  )
  const present = contestants.flatMap((contestant, at) => {
    const result = results[at]
    return result === undefined || result.missing !== undefined ? [] : [{ contestant, result }]
  })
  for (let round = 0; round < size.rounds; round += 1) {
    await measureRound(bench, turned(present, round))
    for (const { result } of present) say(`round ${round + 1}: ${saidOf(result)}`)
  }
  for (const { contestant, result } of present) {
    result.transfers = await inLife(contestant, async (running) => await measureTransfers(bench, running))
    say(`transfers: ${result.name}: ${result.transfers.down.peak?.toFixed(0) ?? '–'} MiB`)
    if (result.name === 'direct') continue
    result.idleTunnel = await inLife(contestant, async (running) => await measureIdle(bench, running))
    say(`idle tunnels: ${result.name}: ${result.idleTunnel.toFixed(0)} KiB`)
  }
  return results
}

async function inLife<T>(contestant: Contestant, work: (running: Running) => Promise<T>): Promise<T> {
  const running = await contestant.start()
  try {
    return await work(running)
  } finally {
    await running.stop()
  }
}

function turned<T>(list: readonly T[], by: number): T[] {
  return list.map((_, at) => list[(at + by) % list.length]).filter((each) => each !== undefined)
}

function saidOf({ name, sequential, parallel }: Measured): string {
  const last = parallel.at(-1)
  return `${name}: p50 ${sequential.at(-1)?.p50.toFixed(2)} ms, ${last?.perSecond.toFixed(0)} requests/s, ${last?.cpuMicroseconds.toFixed(0)} µs`
}

/** Milliseconds of a contestant in one round, by measure. */
interface Times {
  sequential: number[]
  parallel: number[]
  newTunnel: number[]
  sse: number[]
  ndjson: number[]
  /** Of `parallel`: the time that was counted, and all the work, with what was not. */
  elapsedMs: number
  cpuMs: number
  requests: number
}

/**
 * One life of each. The machine's speed comes and goes within seconds, so every measure is cut into slices, and each
 * slice is everybody's before the next begins, in another order; they are short, because V8 gives up what it has
 * compiled and the room for young objects where nothing happens for eight seconds. Whoever waits is stopped, or what it
 * does of itself would be in the others' slowest requests.
 */
async function measureRound(
  bench: Bench,
  present: { contestant: Contestant; result: Measured }[],
): Promise<void> {
  const { driver, ports, size } = bench
  await using stack = new AsyncDisposableStack()
  const alive: { contestant: Contestant; running: Running; result: Measured; times: Times }[] = []
  for (const { contestant, result } of present) {
    const running = await contestant.start()
    stack.defer(async () => {
      send('SIGCONT', running)
      await running.stop()
    })
    const fast: Target = { ...running.way, host: host.api, port: ports.fast }
    result.firstHost.push(latency(await driver.do('newTunnels', fast, size.firstHosts, freshHosts)))
    const times = {
      sequential: [],
      parallel: [],
      newTunnel: [],
      sse: [],
      ndjson: [],
      elapsedMs: 0,
      cpuMs: 0,
      requests: 0,
    }
    alive.push({ contestant, running, result, times })
  }
  // What is measured is a proxy that has been running: V8 has compiled what is often called, in each way of calling it.
  for (const { contestant, running, result } of alive) {
    const target = fastTarget(bench, running)
    await driver.do('parallel', target, size.tunnels, size.warmSeconds)
    // Each by another person: ours has one send so many in a minute.
    const each = Math.ceil((size.sequential / size.slices) * contestant.share)
    for (let slice = 0; slice < size.slices; slice += 1) await driver.do('sequential', target, each)
    await driver.do('newTunnels', target, Math.ceil(2 * size.newTunnels * contestant.share))
    const hosts = freshHosts.slice(size.firstHosts)
    result.newHost.push(latency(await driver.do('newTunnels', target, size.newHosts, hosts)))
  }
  await sleep(settleMs)
  for (const { running } of alive) send('SIGSTOP', running)
  for (const measure of measures) {
    for (let slice = 0; slice < size.slices; slice += 1) {
      for (const { contestant, running, times } of turned(alive, slice)) {
        send('SIGCONT', running)
        await measure(bench, running, times, contestant.share / size.slices)
        await sleep(settleMs)
        send('SIGSTOP', running)
      }
    }
  }
  for (const { result, times } of alive) {
    const requests = times.parallel.length
    result.sequential.push(latency(times.sequential))
    result.parallel.push({
      ...latency(times.parallel),
      requests,
      perSecond: (requests * 1_000) / times.elapsedMs,
      cpuMicroseconds: (times.cpuMs * 1_000) / times.requests,
    })
    result.newTunnel.push(latency(times.newTunnel))
    result.sse.push(latency(times.sse))
    result.ndjson.push(latency(times.ndjson))
  }
}

/** For what a proxy does after its slice: it ends connections, writes records. */
const settleMs = 200

function send(signal: 'SIGSTOP' | 'SIGCONT', { pid }: Running): void {
  if (pid !== 0) for (const one of processTree([pid])) process.kill(one.pid, signal)
}

type Measure = (bench: Bench, running: Running, times: Times, share: number) => Promise<void>

const fastTarget = ({ ports }: Bench, { way }: Running): Target => ({
  ...way,
  host: host.api,
  port: ports.fast,
})

/** One person's, where it matters that a connection to the upstream stands: ours shares none between people. */
const ofOne = (target: Target): Target => ({ ...target, identities: target.identities?.slice(0, 1) ?? [] })

const measures: Measure[] = [
  async (bench, running, times, share) => {
    const count = Math.ceil(bench.size.sequential * share)
    times.sequential.push(...(await bench.driver.do('sequential', fastTarget(bench, running), count)))
  },
  async (bench, running, times) => {
    const { tunnels, seconds, slices } = bench.size
    const before = cpuMs(running.pid)
    const many = await bench.driver.do('parallel', fastTarget(bench, running), tunnels, seconds / slices)
    times.cpuMs += cpuMs(running.pid) - before
    times.elapsedMs += many.elapsedMs
    times.requests += many.requests
    for (const time of many.times) times.parallel.push(time)
  },
  async (bench, running, times) => {
    const count = Math.ceil(bench.size.newTunnels / bench.size.slices)
    const own = ofOne(fastTarget(bench, running))
    // Uncounted: whoever waited has no connection to the upstream any more.
    await bench.driver.do('newTunnels', own, 1)
    times.newTunnel.push(...(await bench.driver.do('newTunnels', own, count)))
  },
  async ({ driver, ports, size }, { way }, times) => {
    const own = ofOne({ ...way, host: host.api, port: ports.full })
    const count = Math.ceil(size.streams / size.slices)
    times.sse.push(...(await driver.do('firstEvent', own, '/sse', count)))
    times.ndjson.push(...(await driver.do('firstEvent', own, '/ndjson', count)))
  },
]

function latency(times: number[]): Latency {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99) }
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
