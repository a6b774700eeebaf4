import { setTimeout as sleep } from 'node:timers/promises'
import { type Deployment, endProcess } from './deployment.ts'
import { readRow } from './sandbox-processes.ts'

/** A small generator of repeatable choices (mulberry32): the same seed, the same choices. */
export function random(seed: number) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    next,
    /** A whole number from `low` to `high`, both possible. */
    between: (low: number, high: number) => low + Math.floor(next() * (high - low + 1)),
    pick: <Item>(items: readonly Item[]): Item | undefined => items[Math.floor(next() * items.length)],
  }
}

/** One thing that was done to the deployment; `toMs` is when it was whole again, by `performance.now()`. */
export interface Deed {
  what: string
  fromMs: number
  toMs: number
}

/**
 * Breaks one thing after another until `stop` aborts, and mends each: gateways, the egress proxy, single processes
 * of sandboxes, the database. At least one gateway is always left alone. When it returns, everything runs again.
 */
export async function monkey(
  deployment: Deployment,
  dice: ReturnType<typeof random>,
  stop: AbortSignal,
): Promise<Deed[]> {
  const deeds: Deed[] = []
  const { gateways, egress, database } = deployment
  const moments = async (low: number, high: number) => await sleep(dice.between(low, high))

  const kinds: { weight: number; what: string; act: () => Promise<unknown> }[] = [
    {
      weight: 3,
      what: 'a gateway killed',
      act: async () => {
        const gateway = dice.pick(gateways)
        await gateway?.kill()
        await moments(0, 2_000)
        await database.ready()
        await gateway?.start()
      },
    },
    {
      weight: 2,
      what: 'a gateway paused',
      act: async () => {
        const gateway = dice.pick(gateways)
        gateway?.pause()
        // Sometimes longer than the others wait before they take it for dead.
        await (dice.next() < 0.3 ? moments(7_000, 11_000) : moments(100, 4_000))
        gateway?.resume()
      },
    },
    {
      weight: 1,
      what: 'the egress proxy killed',
      act: async () => {
        await egress.kill()
        await moments(0, 1_000)
        await database.ready()
        await egress.start()
      },
    },
    {
      weight: 1,
      what: 'the egress proxy paused',
      act: async () => {
        egress.pause()
        await moments(100, 2_000)
        egress.resume()
      },
    },
    {
      weight: 6,
      what: 'a process of a sandbox killed',
      act: async () => endProcess((await aProcess()) ?? 0),
    },
    {
      weight: 2,
      what: 'a process of a sandbox paused',
      act: async () => {
        const pid = (await aProcess()) ?? 0
        if (pid < 2 || readRow(pid) === undefined) return
        process.kill(pid, 'SIGSTOP')
        await moments(100, 3_000)
        if (readRow(pid) !== undefined) process.kill(pid, 'SIGCONT')
      },
    },
    {
      weight: 2,
      what: 'the database server killed',
      act: async () => await database.killServer(),
    },
    {
      weight: 1,
      what: 'the database and its guardian killed',
      act: async () => {
        await database.killAll()
        await moments(0, 3_000)
        await database.startAgain()
      },
    },
  ]
  const bag = kinds.flatMap((kind) => Array.from({ length: kind.weight }, () => kind))

  /** Any link of a sandbox's chain, from the holder of its lock to a source's child. */
  async function aProcess(): Promise<number | undefined> {
    const people = (await deployment.sandboxes()).filter(({ name }) => name !== 'r-system')
    return dice.pick(dice.pick(people)?.pids ?? [])
  }

  while (!stop.aborted) {
    const deed = dice.pick(bag)
    if (deed === undefined) break
    const fromMs = performance.now()
    await deed.act()
    deeds.push({ what: deed.what, fromMs, toMs: performance.now() })
    await sleep(dice.between(200, 1_500), undefined, { signal: stop }).catch(() => undefined)
  }
  return deeds
}
