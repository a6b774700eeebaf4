/**
 * The whole proxy over the wire, by HTTP/1.1: clients that ask ahead, by plain http and in tunnels, for what is right,
 * refused or broken, and upstreams that answer well and badly. Every sequence has a seed of its own, counted up from
 * the run's, and a finding names it. Some run at once and share connections to the upstreams.
 */
import { basic, injectBearer, makeWorld, rule, type World } from '../../support/egress-world.ts'
import { Chance, Finding, type Fuzz, type FuzzTally } from './fuzz.ts'
import { converse, type Manners } from './wire/client.ts'
import { judge } from './wire/judge.ts'
import { host, type PlannedRequest, type Way } from './wire/plan.ts'
import { makeRequest } from './wire/requests.ts'
import { patientLimits, tryRounds } from './wire/rounds.ts'
import { Script, startUpstreams } from './wire/upstream.ts'

export const fuzz: Fuzz = async ({ seed, deadline, most, openStore }) => {
  await using store = await openStore()
  await using world = await makeWorld({ store, limits: patientLimits })
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
  return await tryRounds(
    { seed, deadline, most },
    world,
    script,
    (own, tally) => trySequence(world, script, ways[own % ways.length]!, own, tally),
    () => up.dropConnections(),
  )
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
