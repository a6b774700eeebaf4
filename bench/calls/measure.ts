import { type BenchClient, createClient, type Target } from './client.ts'

export interface Latency {
  p50: number
  p99: number
}

/** `calls` calls one after the other after 100 uncounted ones; milliseconds. */
export async function sequential(target: Target, calls: number): Promise<Latency> {
  const client = createClient(target)
  await client.open()
  for (let i = 0; i < 100; i += 1) await client.echo(`warm ${i}`)
  const times = await timed(client, (i) => i < calls)
  client.close()
  return percentiles(times)
}

/** `clients` closed loops for `seconds`; every answer checked, the first error ends the run. */
export async function parallel(
  target: Target,
  clients: number,
  seconds: number,
): Promise<Latency & { perSecond: number }> {
  const all = Array.from({ length: clients }, () => createClient(target))
  for (const client of all) await client.open()
  await Promise.all(all.map((client) => client.echo('warm')))
  const start = performance.now()
  const end = start + seconds * 1000
  const times = (await Promise.all(all.map((client) => timed(client, () => performance.now() < end)))).flat()
  const elapsed = (performance.now() - start) / 1000
  for (const client of all) client.close()
  return { ...percentiles(times), perSecond: times.length / elapsed }
}

/** A new session (initialize, initialized) and one call in it, `rounds` times. */
export async function newSessionPerCall(target: Target, rounds: number): Promise<Latency> {
  const times: number[] = []
  for (let i = 0; i < rounds; i += 1) {
    const client = createClient(target)
    const start = performance.now()
    await client.open()
    await client.echo(`session ${i}`)
    times.push(performance.now() - start)
    client.close()
  }
  return percentiles(times)
}

/** Opens `count` sessions and leaves them; returns how many there were when one more was refused. */
export async function leaveSessions(target: Target, count: number): Promise<number> {
  const client = createClient(target)
  let opened = 0
  try {
    for (; opened < count; opened += 1) await client.open()
  } catch (error) {
    if (opened === 0) throw error
  } finally {
    client.close()
  }
  return opened
}

/** `clients` closed loops until `count` calls are answered, every answer checked. */
export async function manyCalls(target: Target, clients: number, count: number): Promise<void> {
  const all = Array.from({ length: clients }, () => createClient(target))
  for (const client of all) await client.open()
  let left = count
  await Promise.all(
    all.map(async (client) => {
      while (left-- > 0) await client.echo(`call ${left}`)
    }),
  )
  for (const client of all) client.close()
}

async function timed(client: BenchClient, more: (i: number) => boolean): Promise<number[]> {
  const times: number[] = []
  for (let i = 0; more(i); i += 1) {
    const start = performance.now()
    await client.echo(`call ${i} ${start}`)
    times.push(performance.now() - start)
  }
  return times
}

function percentiles(times: number[]): Latency {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99) }
}
