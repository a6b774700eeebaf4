import { sql } from 'kysely'
import { type Log, newId, type PrincipalId, type RunnerId, silentLog } from '../../src/core/index.ts'
import {
  createRunners,
  type RunnerAnswer,
  type RunnerCall,
  type RunnerCallHooks,
  type RunnerDriver,
  type Runners,
  type RunnersDeps,
  type RunnerTimings,
  type ToolhostClient,
} from '../../src/runners/index.ts'
import { type Heartbeat, listen, openStore, type Store, startHeartbeat } from '../../src/store/index.ts'
import type { ScriptedMachine } from './scripted-driver.ts'

/** Short waits, and nothing by the clock that a test did not ask for. */
const quick: Partial<RunnerTimings> = {
  tickMs: 50,
  cullMs: 3_600_000,
  relistMs: 3_600_000,
  healthEveryMs: 3_600_000,
  sweepMs: 3_600_000,
  startBackoffMs: [10, 10, 10, 10, 10],
  closeGraceMs: 1_000,
  stopGraceMs: 10,
}

export interface Replica extends AsyncDisposable {
  runners: Runners
  store: Store
  heartbeat: Heartbeat
  /** Cut off as by SIGKILL: its queries fail, its driver never answers, and nothing is given back. */
  abandon(): Promise<void>
}

/**
 * One gateway's runners with a pool, a listener and a heartbeat of its own on the database of `store`.
 *
 * Where it lies: replicas share this process; an abandoned one still has its timers, but can reach nothing.
 */
export async function startReplica(options: {
  store: Store
  machine: ScriptedMachine
  toolhost: ToolhostClient
  timings?: Partial<RunnerTimings>
  limits?: Partial<RunnersDeps['limits']>
  driver?: RunnerDriver
  freshMs?: number
  beatMs?: number
  stopAllOnClose?: boolean
  caCertificate?: RunnersDeps['caCertificate']
  log?: Log
  /** Hears no notices, like a process that is stopped or a listener behind a pooler. */
  isDeaf?: boolean
}): Promise<Replica> {
  const store = openStore({ url: options.store.url, poolSize: 5, log: silentLog })
  const heartbeat = startHeartbeat({
    store,
    log: silentLog,
    replica: { id: newId('rep'), kind: 'gateway', host: 'test' },
    everyMs: options.beatMs ?? 10_000,
    freshMs: options.freshMs ?? 30_000,
  })
  await heartbeat.beatNow()
  const notices = listen(store, silentLog)
  let isDead = false
  const runners = createRunners({
    store,
    notices: options.isDeaf === true ? { ...notices, on: () => () => undefined } : notices,
    driver: mortal(options.driver ?? options.machine.driver(), () => isDead),
    toolhost: options.toolhost,
    log: options.log ?? silentLog,
    replica: heartbeat,
    caCertificate: options.caCertificate ?? (async () => 'ca'),
    limits: {
      memoryBytes: 1,
      processes: 1,
      openFiles: 1,
      parallelCalls: 4,
      queuedCalls: 100,
      ...options.limits,
    },
    timings: { ...quick, ...options.timings },
    stopAllOnClose: options.stopAllOnClose ?? false,
  })
  let isClosed = false
  const close = async () => {
    if (isClosed) return
    isClosed = true
    await runners[Symbol.asyncDispose]()
    await heartbeat[Symbol.asyncDispose]()
    await notices[Symbol.asyncDispose]()
    if (!isDead) await store[Symbol.asyncDispose]()
  }
  return {
    runners,
    store,
    heartbeat,
    async abandon() {
      isDead = true
      await notices[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
    [Symbol.asyncDispose]: close,
  }
}

function mortal(driver: RunnerDriver, isDead: () => boolean): RunnerDriver {
  const alive = async <T>(work: Promise<T>): Promise<T> => {
    const result = await work
    if (isDead()) throw new Error('this replica is dead')
    return result
  }
  return {
    kind: driver.kind,
    isolation: driver.isolation,
    ensure: (spec, signal) => alive(driver.ensure(spec, signal)),
    observe: (name, signal) => alive(driver.observe(name, signal)),
    delete: (name, uid, graceMs, signal) => alive(driver.delete(name, uid, graceMs, signal)),
    list: (signal) => alive(driver.list(signal)),
    watch: (changed) => driver.watch((name) => (isDead() ? undefined : changed(name))),
    dial: (facts) => alive(driver.dial(facts)),
  }
}

export async function makePrincipal(store: Store, name = 'alice'): Promise<PrincipalId> {
  const id = newId('prn')
  await store.db
    .insertInto('principals')
    .values({ id, kind: 'person', slack_team: 'T1', slack_user: id, name })
    .execute()
  return id
}

export const echo = { id: 'echo', command: 'echo', args: [], environment: {} }

export function aCall(principalId: PrincipalId, change: Partial<RunnerCall> = {}): RunnerCall {
  return {
    callId: newId('call'),
    principalId,
    source: echo,
    tool: 'echo',
    arguments: { n: 1 },
    timeoutMs: 10_000,
    ...change,
  }
}

/** Hooks that note what they are told. */
export function notingHooks(signal: AbortSignal = new AbortController().signal): RunnerCallHooks & {
  sentences: string[]
  lives: { runnerId: RunnerId; generation: number }[]
} {
  const sentences: string[] = []
  const lives: { runnerId: RunnerId; generation: number }[] = []
  return {
    signal,
    sentences,
    lives,
    progress: () => undefined,
    waiting: (sentence) => sentences.push(sentence),
    sending: async (life) => {
      lives.push(life)
    },
    moved: async (life) => {
      lives.push(life)
    },
  }
}

export async function callOnce(runners: Runners, principalId: PrincipalId): Promise<RunnerAnswer> {
  return await runners.call(aCall(principalId), notingHooks())
}

/** The row of a principal's runner, as it is. */
export async function rowOf(store: Store, principalId: PrincipalId) {
  return await store.db
    .selectFrom('runners')
    .selectAll()
    .where('principal_id', '=', principalId)
    .executeTakeFirstOrThrow()
}

/** `holds` of each runner next to the rows it must equal, and that the audit has every transition. */
export async function checkBooks(store: Store): Promise<void> {
  const wrong = await sql<{ id: string }>`
    SELECT id FROM runners WHERE holds <> (SELECT count(*) FROM runner_holds WHERE runner_id = runners.id)`.execute(
    store.db,
  )
  if (wrong.rows.length > 0) throw new Error(`holds are miscounted: ${JSON.stringify(wrong.rows)}`)
  const leaks = await sql<{ id: string }>`
    SELECT leases.id FROM leases JOIN runners ON runners.id = runner_id
    WHERE ended_at IS NULL AND (state <> 'ready' OR runners.generation <> leases.generation)`.execute(
    store.db,
  )
  if (leaks.rows.length > 0)
    throw new Error(`leases outlived their generation: ${JSON.stringify(leaks.rows)}`)
  const counts = await sql<{ events: number; audit: number }>`
    SELECT (SELECT count(*) FROM runner_events) AS events,
      (SELECT count(*) FROM events WHERE kind = 'runner.changed' AND data->>'from' <> 'orphaned') AS audit`.execute(
    store.db,
  )
  if (counts.rows[0]?.events !== counts.rows[0]?.audit) throw new Error('a transition is not in the audit')
}
