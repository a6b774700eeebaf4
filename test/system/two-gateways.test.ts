import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect } from 'vitest'
import { Deployment, endProcess, type GatewayProcess, type Person } from '../support/deployment.ts'
import { call, initialize, post, send } from '../support/mcp-wire.ts'
import { testNeeding } from '../support/needs.ts'
import { report } from '../support/report.ts'
import { callTool } from '../support/tool-client.ts'
import { until } from '../support/until.ts'

const test = testNeeding('sandbox')

let deployment: Deployment
let a: GatewayProcess
let b: GatewayProcess

beforeAll(async () => {
  deployment = await Deployment.start({ config: { sandbox: { queued_calls: 256 } } })
  const [first, second] = deployment.gateways
  if (first === undefined || second === undefined) throw new Error('two gateways were asked for')
  a = first
  b = second
  await deployment.discovered(['workspace'])
}, 120_000)
afterAll(async () => await deployment[Symbol.asyncDispose](), 60_000)

const mcp = (gateway: GatewayProcess) => gateway.ready.mcp

/** The toolhosts that live of one person, as the process table has them. */
async function toolhostsOf(person: Person): Promise<number[]> {
  const home = (await deployment.home(person)).split('/').at(-1)
  return (await deployment.sandboxes()).flatMap(({ name, toolhosts }) =>
    `${name}-home` === home ? toolhosts : [],
  )
}

/** The pid of a `sleep` with this number of seconds in one of our sandboxes. */
async function sleeper(seconds: number): Promise<number | undefined> {
  for (const { pids } of await deployment.sandboxes())
    for (const pid of pids) {
      const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      if (words === `sleep\0${seconds}\0`) return pid
    }
  return undefined
}

/** Waits until a call sleeps inside; one that was answered before fails with what was said. */
async function asleep(answer: Promise<unknown>, seconds: number): Promise<void> {
  let early: unknown
  answer.then(
    (seen) => (early = seen),
    (err: unknown) => (early = err),
  )
  await until(async () => {
    if (early !== undefined) throw new Error(`answered before it slept: ${inspect(early)}`)
    return (await sleeper(seconds)) !== undefined
  }, 30_000)
}

/** The answer of a call that sleeps inside. */
function sleeping(gateway: GatewayProcess, person: Person, seconds: number) {
  return callTool(mcp(gateway), person, 'workspace_run', { command: `sleep ${seconds}` })
}

async function lastCall(person: Person): Promise<{ state: string; outcome: string | null } | undefined> {
  const { rows } = await deployment.database.query<{ state: string; outcome: string | null }>(
    `SELECT state, outcome FROM calls WHERE principal_id = '${person.id}' ORDER BY started_at DESC LIMIT 1`,
  )
  return rows[0]
}

test('invariant 6: of 100 racing first calls of one person over two gateways comes one sandbox, and all are answered', {
  timeout: 120_000,
}, async () => {
  const alice = await deployment.person('Alice')
  let most = 0
  const watching = new AbortController()
  const watch = (async () => {
    while (!watching.signal.aborted) {
      const named = (await deployment.sandboxes()).filter(({ name }) => name.startsWith('r-alice-'))
      most = Math.max(most, ...named.map(({ toolhosts }) => toolhosts.length), named.length)
      await sleep(20)
    }
  })()
  const seen = await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      callTool(mcp(n % 2 === 0 ? a : b), alice, 'workspace_run', { command: `echo ${n} >> raced` }),
    ),
  )
  watching.abort()
  await watch
  expect(seen.filter(({ kind }) => kind !== 'ok')).toEqual([])
  expect(most).toBe(1)
  expect(await toolhostsOf(alice)).toHaveLength(1)
  expect(await deployment.runnerOf(alice)).toMatchObject({ state: 'ready', generation: 1 })
  const lines = (await readFile(join(await deployment.home(alice), 'raced'), 'utf8')).trim().split('\n')
  expect(lines.map(Number).toSorted((x, y) => x - y)).toEqual(Array.from({ length: 100 }, (_, n) => n))
})

test('invariant 6: the first calls of 20 people at once make 20 sandboxes, one each', {
  timeout: 180_000,
}, async () => {
  const people = await Promise.all(Array.from({ length: 20 }, (_, n) => deployment.person(`Worker ${n}`)))
  const started = performance.now()
  const seen = await Promise.all(
    people.flatMap((person) =>
      [a, b].map((gateway) => callTool(mcp(gateway), person, 'workspace_run', { command: 'id -un' })),
    ),
  )
  report(`20 people, 40 first calls: all answered after ${Math.round(performance.now() - started)} ms`)
  expect(seen.filter(({ kind }) => kind !== 'ok')).toEqual([])
  for (const person of people) {
    expect(await toolhostsOf(person)).toHaveLength(1)
    expect(await deployment.runnerOf(person)).toMatchObject({ state: 'ready', generation: 1 })
  }
  const { runners } = await deployment.admin<{ runners: { id: string; principalName: string }[] }>(
    'GET',
    '/runners',
  )
  const theirs = runners.filter(({ principalName }) => principalName.startsWith('Worker'))
  await Promise.all(theirs.map(({ id }) => deployment.admin('POST', `/runners/${id}/stop`, {})))
  for (const person of people) expect(await toolhostsOf(person)).toEqual([])
})

test('invariant 5: a token revoked through one gateway is refused by the other on the very next request', async () => {
  const bob = await deployment.person('Bob')
  expect(await callTool(mcp(b), bob, 'whoami', {})).toMatchObject({ kind: 'ok' })
  await deployment.admin('POST', `/tokens/${bob.tokenId}/revoke`, {})
  // To a tool call a token that ended is told as its result, because that is the text which people get to see.
  for (const gateway of [b, a]) {
    expect(await callTool(mcp(gateway), bob, 'whoami', {})).toMatchObject({
      kind: 'error',
      text: expect.stringContaining('revoked'),
    })
    expect((await post(mcp(gateway), initialize(), { token: bob.token })).status).toBeGreaterThanOrEqual(400)
  }
})

test('invariant 5: a token revoked through one gateway ends a call that runs through the other within a second', {
  timeout: 60_000,
}, async () => {
  const beth = await deployment.person('Beth')
  const answer = sleeping(b, beth, 601)
  await asleep(answer, 601)
  const revoked = performance.now()
  await deployment.admin('POST', `/tokens/${beth.tokenId}/revoke`, {})
  expect(await answer).toMatchObject({ kind: 'error', code: 'token_revoked' })
  expect(performance.now() - revoked).toBeLessThan(1_500)
  await until(async () => (await sleeper(601)) === undefined, 5_000)
})

test('a cancellation sent to one gateway ends the call that runs through the other', async () => {
  const carol = await deployment.person('Carol')
  const { token } = carol
  const opened = await post(mcp(a), initialize(), { token })
  const session = { 'mcp-session-id': opened.headers.get('mcp-session-id') ?? '' }
  const running = await send(mcp(a), call('workspace_run', { command: 'sleep 602' }, 7), {
    token,
    headers: session,
  })
  await until(async () => (await sleeper(602)) !== undefined, 30_000)
  const told = performance.now()
  const notice = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } }
  expect((await post(mcp(b), notice, { token, headers: session })).status).toBe(202)
  await running.text()
  expect(performance.now() - told).toBeLessThan(2_000)
  await until(async () => (await sleeper(602)) === undefined, 5_000)
  await until(async () => (await lastCall(carol))?.outcome === 'cancelled')
})

test('invariant 7: a sandbox killed in mid-call ends the call at once, as what it is, and the next call works', {
  timeout: 90_000,
}, async () => {
  const dave = await deployment.person('Dave')
  for (const [attempt, link] of (['toolhost', 'outermost', 'everything'] as const).entries()) {
    const seconds = 610 + attempt
    const answer = sleeping(a, dave, seconds)
    await asleep(answer, seconds)
    const [toolhost = 0] = await toolhostsOf(dave)
    const sandbox = (await deployment.sandboxes()).find(({ toolhosts }) => toolhosts.includes(toolhost))
    const [outermost = 0] = sandbox?.pids ?? []
    const killed = performance.now()
    if (link === 'everything') for (const pid of sandbox?.pids ?? []) endProcess(pid)
    else endProcess(link === 'toolhost' ? toolhost : outermost)
    const seen = await answer
    report(`${link} killed: answered after ${Math.round(performance.now() - killed)} ms`)
    expect(seen).toMatchObject({ kind: 'error', code: 'outcome_unknown' })
    await until(async () => (await lastCall(dave))?.state === 'finished')
    expect(await lastCall(dave)).toMatchObject({ outcome: 'unknown' })
    expect(await callTool(mcp(b), dave, 'workspace_run', { command: 'echo again' })).toMatchObject({
      kind: 'ok',
    })
    expect(await toolhostsOf(dave)).toHaveLength(1)
    expect(await deployment.runnerOf(dave)).toMatchObject({ state: 'ready', generation: attempt + 2 })
  }
})

test('invariant 13: a gateway that was paused until others took it for dead trusts nothing that it held', {
  timeout: 120_000,
}, async () => {
  const erin = await deployment.person('Erin')
  expect(await callTool(mcp(a), erin, 'workspace_run', { command: 'echo one >> log' })).toMatchObject({
    kind: 'ok',
  })
  const inFlight = callTool(mcp(a), erin, 'workspace_run', { command: 'sleep 2; echo two >> log' })
  await until(async () => (await sleeper(2)) !== undefined, 30_000)
  a.pause()
  try {
    await until(async () => (await lastCall(erin))?.state === 'finished', 45_000)
    expect(await lastCall(erin)).toMatchObject({ outcome: 'unknown' })
    const { id } = await deployment.runnerOf(erin)
    await deployment.admin('POST', `/runners/${id}/stop`, {})
    expect(await callTool(mcp(b), erin, 'workspace_run', { command: 'echo three >> log' })).toMatchObject({
      kind: 'ok',
    })
  } finally {
    a.resume()
  }
  expect(await callTool(mcp(a), erin, 'workspace_run', { command: 'cat log' })).toMatchObject({
    kind: 'ok',
    text: expect.stringContaining('one\ntwo\nthree\n'),
  })
  // Whatever its client gets, it is an answer.
  expect((await inFlight).kind).not.toBe('lost')
  expect(await toolhostsOf(erin)).toHaveLength(1)
  expect(await deployment.runnerOf(erin)).toMatchObject({ generation: 2 })
})

test('a stopped sandbox wakes on the next call, through either gateway, with its home as it was', async () => {
  const fay = await deployment.person('Fay')
  expect(await callTool(mcp(a), fay, 'workspace_run', { command: 'echo kept > note' })).toMatchObject({
    kind: 'ok',
  })
  const { id } = await deployment.runnerOf(fay)
  await deployment.admin('POST', `/runners/${id}/stop`, {})
  expect(await toolhostsOf(fay)).toEqual([])
  expect(await callTool(mcp(b), fay, 'workspace_read_file', { path: 'note' })).toMatchObject({
    kind: 'ok',
    text: 'kept\n',
  })
})
