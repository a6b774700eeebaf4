/**
 * The whole proxy over the wire, by HTTP/1.1: clients that ask ahead, by plain http and in tunnels, for what is right,
 * refused or broken, and upstreams that answer well and badly. Every sequence has a seed of its own, counted up from
 * the run's, and a finding names it. Some run at once and share connections to the upstreams.
 */
import { basic, injectBearer, makeWorld, rule, theSecret, type World } from '../../support/egress-world.ts'
import { Chance, Finding, type Fuzz, type FuzzTally } from './fuzz.ts'
import { converse, type Manners } from './wire/client.ts'
import { judge } from './wire/judge.ts'
import { host, type PlannedRequest, type Way } from './wire/plan.ts'
import { judgeRecords } from './wire/records.ts'
import { makeRequest } from './wire/requests.ts'
import { Script, startUpstreams } from './wire/upstream.ts'

const atOnce = 6
/** Sequences after which what was recorded is looked at. */
const round = 120

/** Neither a slow machine nor a flood is what is tried. */
const limits = {
  requestsPerMinutePerPrincipal: 1e9,
  requestsPerMinute: 1e9,
  sentPerHourPerPrincipal: 1e15,
  sentPerHour: 1e15,
  headersTimeoutMs: 120_000,
  handshakeTimeoutMs: 120_000,
  dialTimeoutMs: 120_000,
  recordsTimeoutMs: 120_000,
}

export const fuzz: Fuzz = async ({ seed, deadline, most, openStore }) => {
  await using store = await openStore()
  await using world = await makeWorld({ store, limits })
  const script = new Script()
  await using up = await startUpstreams(world, script)
  const route = { paths: ['/ok'], methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'] }
  await world.setRules([
    rule(host, up.securePort, { ...route, inject: injectBearer }),
    rule(host, up.plainPort, { ...route, scheme: 'http' }),
  ])
  const ways: Way[] = [
    { name: 'in a tunnel', secure: true, port: up.securePort },
    { name: 'by plain http', secure: false, port: up.plainPort, authorization: basic('orders', world.lease) },
  ]
  const tally = { tried: 0, accepted: 0 }
  let recorded = 0
  const goesOn = () => tally.tried < most && performance.now() < deadline
  while (goesOn()) {
    const roundEnd = tally.tried + round
    let found = false
    const run = async () => {
      while (!found && goesOn() && tally.tried < roundEnd) {
        const own = seed + tally.tried
        tally.tried += 1
        await trySequence(world, script, ways[own % ways.length]!, own, tally).catch((err: unknown) => {
          found = true
          throw err
        })
      }
    }
    const runs = await Promise.allSettled(Array.from({ length: atOnce }, run))
    for (const each of runs) if (each.status === 'rejected') throw each.reason
    const { wrong, until } = await judgeRecords(world, script, recorded)
    const fault = script.faults[0] ?? wrong
    if (fault !== undefined) throw new Finding(fault, `sequences up to ${tally.tried}`, seed)
    recorded = until
    up.dropConnections()
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

async function trySequence(
  world: World,
  script: Script,
  way: Way,
  seed: number,
  tally: FuzzTally,
): Promise<void> {
  const chance = new Chance(seed)
  const calm = chance.once(2)
  const count = 1 + chance.below(chance.of([1, 3, 12, 40]))
  const requests = Array.from({ length: count }, (_, index) =>
    makeRequest(chance, `${seed}.${index}`, way, calm),
  )
  for (const request of requests) if (request.answer !== undefined) script.planned.set(request.id, request)
  const manners: Manners = {
    leavesAfter: chance.once(25) ? chance.below(20_000) : undefined,
    halfCloses: chance.once(10),
    // With more than one answer due, neither side could go on.
    readsLate: count === 1 && chance.once(2),
  }
  const socket = way.secure ? await world.tunnel(host, way.port) : await world.connect()
  const got = await converse(socket, requests, manners, chance)
  const wrong = script.faults[0] ?? judge(requests, got, script.seen, manners)
  if (wrong !== undefined) throw new Finding(`${wrong}; ${way.name}`, described(requests, manners), seed)
  tally.accepted += got.answers.length
}

function described(requests: readonly PlannedRequest[], manners: Manners): object {
  const kinds = requests.map(
    ({ fate, kind, answer }, index) => `${index} ${fate}: ${kind} -> ${answer?.kind ?? ''}`,
  )
  return { kinds, manners }
}
