import { theSecret, type World } from '../../../support/egress-world.ts'
import { Finding, type FuzzOptions, type FuzzTally } from '../fuzz.ts'
import { judgeRecords } from './records.ts'
import type { Script } from './upstream.ts'

/** Neither a slow machine nor a flood is what is tried. */
export const patientLimits = {
  requestsPerMinutePerPrincipal: 1e9,
  requestsPerMinute: 1e9,
  sentPerHourPerPrincipal: 1e15,
  sentPerHour: 1e15,
  headersTimeoutMs: 120_000,
  handshakeTimeoutMs: 120_000,
  dialTimeoutMs: 120_000,
  recordsTimeoutMs: 120_000,
}

/** Sequences that run at the same time, each in a lane of its own. */
export const atOnce = 6
/** Sequences after which what was recorded is looked at. */
const round = 120

/** Tries sequence after sequence, each with a seed of its own, and after each round looks at what was recorded. */
export async function tryRounds(
  { seed, deadline, most }: Pick<FuzzOptions, 'seed' | 'deadline' | 'most'>,
  world: World,
  script: Script,
  trySequence: (seed: number, tally: FuzzTally, lane: number) => Promise<void>,
  roundOver: () => void,
): Promise<FuzzTally> {
  const tally = { tried: 0, accepted: 0 }
  let recorded = 0
  const goesOn = () => tally.tried < most && performance.now() < deadline
  while (goesOn()) {
    const roundEnd = tally.tried + round
    let found = false
    const run = async (lane: number) => {
      while (!found && goesOn() && tally.tried < roundEnd) {
        const own = seed + tally.tried
        tally.tried += 1
        await trySequence(own, tally, lane).catch((err: unknown) => {
          found = true
          throw err
        })
      }
    }
    const runs = await Promise.allSettled(Array.from({ length: atOnce }, (_, lane) => run(lane)))
    for (const each of runs) if (each.status === 'rejected') throw each.reason
    const { wrong, until } = await judgeRecords(world, script, recorded)
    const fault = script.faults[0] ?? wrong
    if (fault !== undefined) throw new Finding(fault, `sequences up to ${tally.tried}`, seed)
    recorded = until
    roundOver()
    script.planned.clear()
    script.seen.clear()
  }
  const logged = world.logged()
  if (logged.includes(JSON.stringify(theSecret).slice(1, -1)))
    throw new Finding('the credential was logged', undefined, seed)
  const error = /^.*"level":[56]0.*$/m.exec(logged)?.[0]
  if (error !== undefined) throw new Finding('an error was logged', error, seed)
  return tally
}
