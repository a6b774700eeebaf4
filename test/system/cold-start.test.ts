import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import { Deployment, type Person } from '../support/deployment.ts'
import { testNeeding } from '../support/needs.ts'
import { report } from '../support/report.ts'
import { callTool } from '../support/tool-client.ts'
import { until } from '../support/until.ts'

const test = testNeeding('sandbox')

let deployment: Deployment

beforeAll(async () => {
  deployment = await Deployment.start({ gateways: 1 })
  await deployment.discovered(['workspace'])
}, 120_000)
afterAll(async () => await deployment[Symbol.asyncDispose](), 60_000)

const caches = () => join(deployment.folder, 'state', 'sandboxes', 'compile-cache')

/** The phases of one first call, in ms: what the database and the sandbox's own log say of it. */
async function firstCall(person: Person) {
  const sentAt = Date.now()
  const seen = await callTool(deployment.anyGateway.ready.mcp, person, 'workspace_read_file', {
    path: 'none',
  })
  const total = Date.now() - sentAt
  expect(seen).toMatchObject({ kind: 'error', code: 'tool' })
  const { rows } = await deployment.database.query<{ to_state: string; ms: number }>(
    `SELECT to_state, extract(epoch FROM e.at) * 1000 AS ms FROM runner_events e JOIN runners r ON r.id = e.runner_id
      WHERE r.principal_id = '${person.id}' ORDER BY e.id DESC LIMIT 2`,
  )
  const at = (state: string) => Number(rows.find(({ to_state }) => to_state === state)?.ms) - sentAt
  const name =
    (await deployment.home(person))
      .split('/')
      .at(-1)
      ?.replace(/-home$/, '') ?? ''
  const log = await readFile(join(deployment.folder, 'state', 'sandboxes', 'runners', name, 'log'), 'utf8')
  const toolhost = Number(/"startedInMs":(\d+)/.exec(log)?.[1])
  return {
    total,
    decided: Math.round(at('starting')),
    sandbox: Math.round(at('ready') - at('starting')),
    toolhost,
    source: Math.round(total - at('ready')),
  }
}

test('a first call without a sandbox is answered, and says where its time went', {
  timeout: 60_000,
}, async () => {
  await until(async () => existsSync(caches()) && (await readdir(caches())).length === 1, 30_000)
  const people = await Promise.all(Array.from({ length: 7 }, (_, n) => deployment.person(`First ${n}`)))
  const measured: Awaited<ReturnType<typeof firstCall>>[] = []
  for (const person of people) measured.push(await firstCall(person))
  const sorted = measured.toSorted((a, b) => a.total - b.total)
  for (const phases of [...sorted, ...(await againOf(people))])
    report(
      Object.entries(phases)
        .map(([phase, ms]) => `${phase} ${ms}`)
        .join(', '),
    )
  // The target is 500 ms on a quiet machine; tests share theirs.
  expect(sorted[3]?.total).toBeLessThan(5_000)
})

/** The same people once more, after their sandboxes were stopped. */
async function againOf(people: Person[]) {
  const woken: Awaited<ReturnType<typeof firstCall>>[] = []
  for (const person of people.slice(0, 3)) {
    const { id } = await deployment.runnerOf(person)
    await deployment.admin('POST', `/runners/${id}/stop`, {})
    woken.push(await firstCall(person))
  }
  return woken
}
