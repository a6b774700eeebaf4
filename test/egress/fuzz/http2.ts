/**
 * The whole proxy over the wire, by HTTP/2: clients that interleave what is right, refused, broken and taken back on
 * many streams of one tunnel, frame by frame, and upstreams by HTTP/2 and HTTP/1.1 that answer well and badly. Every
 * sequence has a seed of its own, as in `http1`. Where one of them may break a connection to an upstream, they are a
 * person's own, so that whatever goes wrong elsewhere is nobody else's doing.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { injectBearer, makeWorld, rule, type World } from '../../support/egress-world.ts'
import { breaches, converseByHttp2, type Manners } from './frames/client.ts'
import { judgeStreams } from './frames/judge.ts'
import { makeWays } from './frames/peer.ts'
import type { PlannedStream } from './frames/plan.ts'
import { makeStream } from './frames/requests.ts'
import { Frames, startFramesUpstream } from './frames/upstream.ts'
import { Chance, Finding, type Fuzz, type FuzzTally } from './fuzz.ts'
import { host } from './wire/plan.ts'
import { atOnce, patientLimits, tryRounds } from './wire/rounds.ts'
import { Script, startUpstreams } from './wire/upstream.ts'

const mostStreams = 30
/** Little more than is asked for at once, so that a place that is not given back is missed. */
const limits = {
  ...patientLimits,
  requestsPerPrincipal: 2 * mostStreams,
  requests: 2 * mostStreams * atOnce,
  tunnelsPerPrincipal: 4,
  tunnels: 4 * atOnce,
}
/** By then the proxy has closed what it keeps for four seconds. */
const emptyMs = 30_000

export const fuzz: Fuzz = async ({ seed, deadline, most, openStore }) => {
  await using store = await openStore()
  await using world = await makeWorld({ store, limits, metrics: { host: '127.0.0.1', port: 0 } })
  const script = new Script()
  const frames = new Frames(script)
  await using byHttp1 = await startUpstreams(world, script)
  await using byHttp2 = await startFramesUpstream(world, frames)
  const route = { paths: ['/ok'], methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'], inject: injectBearer }
  await world.setRules([rule(host, byHttp1.securePort, route), rule(host, byHttp2.port, route)])
  const calmLeases = await Promise.all(Array.from({ length: atOnce }, () => world.addLease({})))
  const tally = await tryRounds(
    { seed, deadline, most },
    world,
    script,
    async (own, each, lane) => {
      const chance = new Chance(own)
      const calm = chance.once(2)
      const isHttp2 = chance.below(3) > 0
      const { lease } = calm ? calmLeases[lane]! : await world.addLease({})
      const port = isHttp2 ? byHttp2.port : byHttp1.securePort
      await trySequence({ world, frames, lease, port, isHttp2 }, own, chance, calm, each)
    },
    () => {
      frames.acts.clear()
      frames.refused.clear()
    },
  )
  const left = await whatIsLeft(world, () => byHttp2.connections.size)
  if (left !== undefined) throw new Finding('the proxy is not empty', left, seed)
  return tally
}

interface Setting {
  world: World
  frames: Frames
  lease: string
  port: number
  isHttp2: boolean
}

async function trySequence(
  { world, frames, lease, port, isHttp2 }: Setting,
  seed: number,
  chance: Chance,
  calm: boolean,
  tally: FuzzTally,
): Promise<void> {
  const { script, acts } = frames
  const plans = Array.from({ length: 1 + chance.below(chance.of([1, 4, mostStreams])) }, (_, index) =>
    makeStream(chance, `${seed}.${index}`, { port, byHttp2: isHttp2 }, calm),
  )
  for (const plan of plans) {
    if (plan.answer !== undefined) script.planned.set(plan.id, plan)
    if (plan.act !== undefined) acts.set(plan.id, plan.act)
  }
  const manners: Manners = {
    ...makeWays(chance),
    leavesAfterMs: !calm && chance.once(12) ? chance.below(50) : undefined,
    breaks:
      !calm && chance.once(6)
        ? { name: chance.of(Object.keys(breaches)), afterMs: chance.below(30) }
        : undefined,
  }
  const socket = await world.tunnel(host, port, { protocols: ['h2'], lease })
  const got = await converseByHttp2(socket, plans, manners, chance)
  const [fault] = script.faults
  const wrong = judgeStreams(plans, got, frames, manners, calm)
  if (fault !== undefined || wrong !== undefined)
    throw new Finding(
      fault ?? `${wrong?.wrong} (stream ${wrong?.index})`,
      described(plans, manners, isHttp2),
      seed,
    )
  tally.accepted += got.filter(({ answer, end }) => answer !== undefined && end === 'end').length
}

function described(plans: readonly PlannedStream[], manners: Manners, isHttp2: boolean): object {
  const kinds = plans.map(
    ({ fate, kind, answer, takenBack }, index) =>
      `${index} ${fate}: ${kind}${takenBack === undefined ? '' : ', taken back'} -> ${answer?.kind ?? ''}`,
  )
  return { upstream: isHttp2 ? 'HTTP/2' : 'HTTP/1.1', kinds, manners }
}

/** What is under way when nobody asks for anything any more; undefined once that is nothing. */
async function whatIsLeft(world: World, connections: () => number): Promise<object | undefined> {
  for (const late = performance.now() + emptyMs; ; ) {
    const answer = await fetch(`http://127.0.0.1:${world.egress.metricsPort}/metrics`)
    const live = Number(/^toolcrib_egress_live (\d+)$/m.exec(await answer.text())?.[1] ?? Number.NaN)
    const left = { live, connections: connections() }
    if (live === 0 && left.connections === 0) return undefined
    if (performance.now() > late) return left
    await sleep(100)
  }
}
