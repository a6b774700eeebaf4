import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import {
  createLocalDriver,
  createToolhostClient,
  detectIsolation,
  type Runners,
  type RunnerTimings,
} from '../../src/runners/index.ts'
import type { Store } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'
import { aCall, makePrincipal, notingHooks, rowOf, startReplica } from '../support/replica.ts'
import { sandboxesOf } from '../support/sandbox-processes.ts'
import { ScriptedMachine } from '../support/scripted-driver.ts'
import { until } from '../support/until.ts'

const appDir = fileURLToPath(new URL('../..', import.meta.url))
const { works } = await detectIsolation()
const isolation = (['bubblewrap', 'unshare'] as const).find((each) => works.includes(each)) ?? 'none'
const script = isolation === 'none' ? join(appDir, 'sources') : '/opt/toolcrib/sources'
const workspace = {
  id: 'workspace',
  command: 'node',
  args: [join(script, 'workspace/server.ts')],
  environment: {},
}
const open = new AsyncDisposableStack()
let folder: string
let store: Store

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'toolcrib-hung-'))
  open.defer(async () => await rm(folder, { recursive: true, force: true }))
  await mkdir(join(folder, 'egress'), { mode: 0o711 })
  store = open.use(await testStore())
}, 60_000)
afterAll(async () => await open.disposeAsync())

/** A manager over real sandboxes that asks them twice a second, and ends them with itself. */
async function startRunners(timings: Partial<RunnerTimings> = {}) {
  const driver = await createLocalDriver({
    stateDir: join(folder, 'sandboxes'),
    isolation,
    nodePath: process.execPath,
    appDir,
    egressSocketDir: join(folder, 'egress'),
    compileCache: false,
    log: silentLog,
  })
  return await startReplica({
    store,
    driver,
    machine: new ScriptedMachine(),
    toolhost: createToolhostClient(),
    limits: { memoryBytes: 2 ** 30, processes: 256, openFiles: 1024, queuedCalls: 4 },
    timings: {
      healthEveryMs: 500,
      healthLimitMs: 500,
      healthMisses: 3,
      stopGraceMs: 200,
      ...timings,
    },
    stopAllOnClose: true,
  })
}

async function run(runners: Runners, principalId: Parameters<typeof aCall>[0], command: string) {
  const call = aCall(principalId, {
    source: workspace,
    tool: 'run',
    arguments: { command },
    timeoutMs: 60_000,
  })
  return await runners.call(call, notingHooks())
}

async function toolhost(): Promise<number> {
  const [sandbox] = await sandboxesOf(join(folder, 'sandboxes'))
  return sandbox?.toolhosts.at(-1) ?? -1
}

test('a toolhost that hangs while nobody calls is noticed, its sandbox ended, and the next call has a new one', {
  timeout: 60_000,
}, async () => {
  const alice = await makePrincipal(store)
  await using replica = await startRunners()
  expect(await run(replica.runners, alice, 'echo one > kept; echo made')).toMatchObject({ type: 'result' })
  process.kill(await toolhost(), 'SIGSTOP')
  await until(async () => (await rowOf(store, alice)).state === 'stopped', 30_000)
  expect((await replica.runners.find(alice))?.message).toMatch(/^its toolhost did not answer for \d+ s/)
  expect(await sandboxesOf(join(folder, 'sandboxes'))).toEqual([])

  const answer = await run(replica.runners, alice, 'cat kept')
  expect([answer.type, JSON.stringify(answer)]).toEqual(['result', expect.stringContaining('one')])
  expect((await rowOf(store, alice)).generation).toBe(2)
})

test('a call that waits in a hung sandbox ends as unknown, and the next one works', {
  timeout: 60_000,
}, async () => {
  const bob = await makePrincipal(store, 'bob')
  await using replica = await startRunners()
  expect((await run(replica.runners, bob, 'true')).type).toBe('result')
  const waiting = run(replica.runners, bob, 'touch begun; sleep 50')
  await until(async () => JSON.stringify(await run(replica.runners, bob, 'ls')).includes('begun'))
  process.kill(await toolhost(), 'SIGSTOP')
  expect(await waiting).toEqual({
    type: 'unknown',
    message: expect.stringMatching(/its toolhost did not answer for \d+ s.*may have done part of its work/),
  })
  expect((await run(replica.runners, bob, 'true')).type).toBe('result')
  expect((await rowOf(store, bob)).generation).toBe(2)
})

test('invariant 12: a short pause of a toolhost, and every pause of the gateway itself, end no sandbox', {
  timeout: 60_000,
}, async () => {
  const carol = await makePrincipal(store, 'carol')
  await using replica = await startRunners({ healthEveryMs: 100, healthLimitMs: 300 })
  expect((await run(replica.runners, carol, 'true')).type).toBe('result')
  const pid = await toolhost()
  process.kill(pid, 'SIGSTOP')
  await new Promise((resolve) => setTimeout(resolve, 500))
  process.kill(pid, 'SIGCONT')

  // This process is the gateway: away for longer than a toolhost may take, again and again.
  const stops = setInterval(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400), 1)
  await new Promise((resolve) => setTimeout(resolve, 6_000))
  clearInterval(stops)
  expect((await run(replica.runners, carol, 'true')).type).toBe('result')
  expect(await rowOf(store, carol)).toMatchObject({ state: 'ready', generation: 1 })
})
