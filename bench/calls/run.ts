import { setTimeout as sleep } from 'node:timers/promises'
import { residentMemory, treeMemory } from '../processes.ts'
import { type Contestant, contestants, installPeers } from './contestants.ts'
import { type Latency, leaveSessions, manyCalls, newSessionPerCall, parallel, sequential } from './measure.ts'
import type { Running } from './running.ts'

export interface Sizes {
  rounds: number
  sequentialCalls: number
  clients: number
  seconds: number
  newSessions: number
  memoryCalls: number
  sessionsLeft: number
}

export const sizes: Record<'full' | 'quick', Sizes> = {
  full: {
    rounds: 3,
    sequentialCalls: 1_000,
    clients: 16,
    seconds: 10,
    newSessions: 200,
    memoryCalls: 100_000,
    sessionsLeft: 10_000,
  },
  quick: {
    rounds: 1,
    sequentialCalls: 300,
    clients: 16,
    seconds: 3,
    newSessions: 20,
    memoryCalls: 5_000,
    sessionsLeft: 200,
  },
}

/** MiB: the process tree, and for Toolcrib the gateway process alone. */
export interface Memory {
  start: number
  afterCalls: number
  afterSessions: number
}

export interface Measured {
  name: string
  missing?: string
  /** One entry a round. */
  oneClient: Latency[]
  manyClients: (Latency & { perSecond: number })[]
  newSession: Latency[]
  memory?: { calls: number; sessions: number; tree: Memory; gateway?: Memory }
}

/**
 * Every contestant in every round, each time started anew, the order turning so that nobody always runs after
 * the same neighbour; then one more life of each for memory. `only` names contestants by a part of their name.
 */
export async function runAll(size: Sizes, only: string[], say: (line: string) => void): Promise<Measured[]> {
  installPeers()
  const chosen = contestants.filter(
    ({ name }) => only.length === 0 || only.some((part) => name.toLowerCase().includes(part.toLowerCase())),
  )
  const results = chosen.map(
    ({ name, missing }): Measured => ({
      name,
      ...(missing === undefined ? {} : { missing }),
      oneClient: [],
      manyClients: [],
      newSession: [],
    }),
  )
  for (let round = 0; round <= size.rounds; round += 1) {
    for (let turn = 0; turn < chosen.length; turn += 1) {
      const index = (turn + round) % chosen.length
      const contestant = chosen[index]
      const result = results[index]
      if (contestant === undefined || result === undefined || result.missing !== undefined) continue
      const running = await contestant.start()
      try {
        if (round < size.rounds) await measureRound(contestant, running, size, result)
        else result.memory = await measureMemory(contestant, running, size)
      } finally {
        await running.stop()
      }
      const last = result.manyClients.at(-1)
      say(
        round < size.rounds
          ? `round ${round + 1}: ${contestant.name}: p50 ${result.oneClient.at(-1)?.p50.toFixed(2)} ms, ${last?.perSecond.toFixed(0)} calls/s`
          : `memory: ${contestant.name}: ${result.memory?.tree.afterCalls.toFixed(0)} MiB after calls`,
      )
    }
  }
  return results
}

async function measureRound(
  contestant: Contestant,
  { target }: Running,
  size: Sizes,
  result: Measured,
): Promise<void> {
  await manyCalls(target, 1, 200)
  result.oneClient.push(await sequential(target, size.sequentialCalls))
  result.manyClients.push(await parallel(target, size.clients, size.seconds))
  result.newSession.push(
    await newSessionPerCall(target, Math.min(size.newSessions, contestant.maxSessions / 4)),
  )
}

async function measureMemory(
  contestant: Contestant,
  running: Running,
  size: Sizes,
): Promise<NonNullable<Measured['memory']>> {
  const gateway = 'gateway' in running ? Number(running.gateway) : undefined
  const look = async () => {
    await sleep(1_000)
    return {
      tree: treeMemory(running.pids()),
      gateway: gateway === undefined ? undefined : residentMemory(gateway),
    }
  }
  const start = await look()
  await manyCalls(running.target, size.clients, size.memoryCalls)
  const afterCalls = await look()
  const sessions = await leaveSessions(running.target, Math.min(size.sessionsLeft, contestant.maxSessions))
  const afterSessions = await look()
  const of = (part: 'tree' | 'gateway'): Memory => ({
    start: start[part] ?? Number.NaN,
    afterCalls: afterCalls[part] ?? Number.NaN,
    afterSessions: afterSessions[part] ?? Number.NaN,
  })
  return {
    calls: size.memoryCalls,
    sessions,
    tree: of('tree'),
    ...(gateway === undefined ? {} : { gateway: of('gateway') }),
  }
}
