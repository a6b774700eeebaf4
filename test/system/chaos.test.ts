import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect } from 'vitest'
import { digestJson } from '../../src/core/index.ts'
import { Deployment, type Person } from '../support/deployment.ts'
import { type Deed, monkey, random } from '../support/monkey.ts'
import { testNeeding } from '../support/needs.ts'
import { report } from '../support/report.ts'
import { callTool, type Seen } from '../support/tool-client.ts'
import { until } from '../support/until.ts'

const test = testNeeding('sandbox')

/** How long things are broken: CHAOS_SECONDS=600 for a long night. CHAOS_SEED repeats the monkey's choices. */
const seconds = Number(process.env['CHAOS_SECONDS'] ?? 45)
const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1_000_000))

interface Sent {
  person: Person
  /** The line that the call adds to a file in the home. */
  id: string
  argumentsDigest: string
  seen: Seen
}
interface CallRow {
  id: string
  state: string
  outcome: string | null
  principal_id: string
  arguments_digest: string
}

const file = 'executed'
const sent: Sent[] = []
let deeds: Deed[] = []
let deployment: Deployment
let people: Person[]

beforeAll(
  async () => {
    deployment = await Deployment.start({ gateways: 2 })
    await deployment.discovered(['workspace', 'orders'])
    people = await Promise.all(['Alice', 'Bob', 'Carol', 'Dave'].map((name) => deployment.person(name)))
    for (const person of people) {
      const note = { path: 'note', content: `the home of ${person.name}` }
      const seen = await callTool(deployment.anyGateway.ready.mcp, person, 'workspace_write_file', note)
      if (seen.kind !== 'ok') throw new Error(`${person.name} cannot write: ${seen.text}`)
    }

    report(`chaos for ${seconds} s; again with CHAOS_SEED=${seed}`)
    const over = AbortSignal.timeout(seconds * 1_000)
    const dice = random(seed)
    const clients = people.flatMap((person) => [client(person, 'a', over), client(person, 'b', over)])
    deeds = await monkey(deployment, dice, over)
    await Promise.all(clients)
    report(summary())
  },
  seconds * 1_000 + 240_000,
)

afterAll(async () => await deployment[Symbol.asyncDispose](), 60_000)

/** Calls one tool after another, each with an effect that can be counted, through whichever gateway runs. */
async function client(person: Person, name: string, over: AbortSignal): Promise<void> {
  for (let n = 0; !over.aborted; n++) {
    const id = `${person.name}-${name}-${n}`
    const gateway = deployment.gateways.filter(({ state }) => state !== 'down').at(n % 2)
    if (gateway === undefined) {
      await sleep(100)
      continue
    }
    const { mcp } = gateway.ready
    const [tool, args] =
      n % 3 === 0
        ? ['workspace_run', { command: `sleep 0.2; echo ${id} >> ${file}` }]
        : ['workspace_write_file', { path: file, content: `${id}\n`, append: true }]
    const seen = await callTool(mcp, person, tool, args)
    sent.push({ person, id, seen, argumentsDigest: digestJson(args) })
    // What is down says so at once: nobody calls in a tight loop.
    await sleep(seen.kind === 'ok' ? 10 : 200)
  }
}

function summary(): string {
  const count = (names: string[]) =>
    Object.entries(Object.groupBy(names, (name) => name))
      .map(([name, all]) => `${all?.length} ${name}`)
      .join(', ')
  const kinds = sent.map(({ seen }) => (seen.kind === 'error' ? seen.code : seen.kind))
  return `broken: ${count(deeds.map(({ what }) => what))}\ncalls: ${count(kinds)}`
}

const linesOf = async (person: Person) =>
  (await readFile(join(await deployment.home(person), file), 'utf8'))
    .split('\n')
    .filter((line) => line !== '')

async function callRows(): Promise<CallRow[]> {
  return (await deployment.database.query<CallRow>('SELECT * FROM calls')).rows
}

test('invariant 14: afterwards everything works again for everybody, through every gateway', {
  timeout: 120_000,
}, async () => {
  for (const gateway of deployment.gateways)
    for (const person of people) {
      let seen: Seen | undefined
      const before = performance.now()
      // A sandbox that was killed while it started is tried again after some seconds, and says so.
      await until(async () => {
        seen = await callTool(gateway.ready.mcp, person, 'workspace_read_file', { path: 'note' })
        return seen.kind === 'ok'
      }, 60_000).catch(() => undefined)
      expect(seen).toMatchObject({ kind: 'ok', text: `the home of ${person.name}` })
      expect(performance.now() - before).toBeLessThan(60_000)
      expect(await callTool(gateway.ready.mcp, person, 'orders_list_orders', {})).toMatchObject({
        kind: 'ok',
      })
    }
})

test('no server ended by itself', () => {
  for (const server of [...deployment.gateways, deployment.egress]) expect(server.crashes).toEqual([])
})

test('invariant 7: no call was executed twice, and none that was said not to have run', async () => {
  for (const person of people) {
    const lines = await linesOf(person)
    expect(lines.length).toBe(new Set(lines).size)
    const executed = new Set(lines)
    const denied = sent.filter(
      ({ person: whose, seen }) =>
        whose === person &&
        seen.kind !== 'ok' &&
        /Nothing was run|nothing was run|it was not run/.test(seen.text),
    )
    expect(denied.filter(({ id }) => executed.has(id))).toEqual([])
  }
})

test('every call that its client saw succeed was executed', async () => {
  for (const person of people) {
    const executed = new Set(await linesOf(person))
    const succeeded = sent.filter(({ person: whose, seen }) => whose === person && seen.kind === 'ok')
    expect(succeeded.length).toBeGreaterThan(0)
    expect(succeeded.filter(({ id }) => !executed.has(id))).toEqual([])
  }
})

test('invariant 11: every call has ended and was recorded once, as what its client saw', {
  timeout: 120_000,
}, async () => {
  await until(async () => (await callRows()).every(({ state }) => state === 'finished'), 60_000)
  const rows = await callRows()
  const { rows: events } = await deployment.database.query<{ call_id: string; outcome: string }>(
    `SELECT call_id, data->>'outcome' AS outcome FROM events WHERE kind = 'call.finished'`,
  )
  expect(events.length).toBe(new Set(events.map((event) => event.call_id)).size)
  const outcomes = new Map(events.map((event) => [event.call_id, event.outcome]))
  expect(rows.filter(({ id, outcome }) => outcomes.get(id) !== outcome)).toEqual([])
  const byDigest = new Map(rows.map((row) => [row.arguments_digest, row]))
  const late: string[] = []
  const wrong: unknown[] = []
  for (const { id, seen, argumentsDigest } of sent) {
    const outcome = byDigest.get(argumentsDigest)?.outcome
    const wanted =
      seen.kind === 'ok'
        ? 'ok'
        : seen.kind === 'error' && seen.code === 'outcome_unknown'
          ? 'unknown'
          : outcome
    if (seen.kind === 'ok' && outcome === 'unknown') late.push(id)
    else if (outcome !== wanted) wrong.push({ id, outcome, wanted })
  }
  expect(wrong).toEqual([])
  report(`seen ok and recorded as unknown: ${late.join(' ') || 'none'}`)
  // Only a gateway that could not record in time, because it was paused or killed meanwhile, may leave doubt.
  const gatewayDeeds = deeds.filter(({ what }) => what.startsWith('a gateway')).length
  expect(late.length).toBeLessThanOrEqual(8 * gatewayDeeds)
})

test('invariant 6: everybody has one sandbox', async () => {
  const sandboxes = await deployment.sandboxes()
  for (const { name, toolhosts } of sandboxes) expect([name, toolhosts.length]).toEqual([name, 1])
  expect(sandboxes.filter(({ name }) => name !== 'r-system')).toHaveLength(people.length)
})

test('invariant 12: no home was lost', async () => {
  const homes = await readdir(join(deployment.folder, 'state', 'sandboxes', 'homes'))
  expect(homes.filter((name) => !name.startsWith('r-system'))).toHaveLength(people.length)
  for (const person of people)
    expect(await readFile(join(await deployment.home(person), 'note'), 'utf8')).toBe(
      `the home of ${person.name}`,
    )
})

test('invariant 1: no secret got into a log', async () => {
  const log = deployment.log()
  const password = new URL(deployment.database.url).password
  const secrets = [
    deployment.orders.key.reveal(),
    deployment.adminKey,
    password,
    ...people.map(({ token }) => token),
  ]
  for (const secret of secrets) {
    expect(secret.length).toBeGreaterThan(16)
    expect(log.includes(secret)).toBe(false)
  }
  expect(log.length).toBeGreaterThan(1_000)
})

test('no process is left when everything was shut down', { timeout: 60_000 }, async () => {
  await deployment.shutDown()
  expect(await deployment.leftovers()).toEqual([])
})
