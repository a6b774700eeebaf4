import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, newId, type PrincipalId, unlessAborted } from '../core/index.ts'
import {
  ensureRunner,
  findRunner,
  findRunnerOwner,
  type RunnerRow,
  startRunner,
  wantRunner,
} from '../store/index.ts'
import { cancelled } from './gate.ts'
import type { Held } from './held.ts'
import type { Holds } from './holds.ts'
import { runnerName } from './name.ts'
import type { Context } from './options.ts'
import {
  databaseAway,
  gatewayClosing,
  noProxyYet,
  startFailure,
  stillStarting,
  waitingFor,
} from './sentences.ts'
import type { RowChanges } from './wait.ts'

interface Waiter {
  signal: AbortSignal
  waiting(sentence: string): void
  /** When this caller has waited long enough, by the monotonic clock. */
  deadline: number
}

/** One wait for one principal's runner, shared by all of this replica's callers. */
interface Task {
  waiters: Set<Waiter>
  sentence: string | undefined
  abandon: AbortController
  done: Promise<Held>
}

/** Gets a hold on a principal's runner, waking it first when it sleeps. */
export class Wakes {
  readonly #context: Context
  readonly #holds: Holds
  readonly #changes: RowChanges
  readonly #nudge: () => void
  readonly #tasks = new Map<PrincipalId, Task>()
  #turn: Promise<unknown> = Promise.resolve()
  #full = false
  #isWithoutProxy = false

  constructor(context: Context, parts: { holds: Holds; changes: RowChanges; nudge: () => void }) {
    this.#context = context
    this.#holds = parts.holds
    this.#changes = parts.changes
    this.#nudge = parts.nudge
  }

  /**
   * The held runner, entered: the caller must `leave` it. Throws `call_cancelled`, `runner_starting`,
   * `runner_failed`, `egress_not_enforced` or `unavailable`; in every case nothing was sent.
   */
  async obtain(principalId: PrincipalId, waiter: Waiter): Promise<Held> {
    for (;;) {
      if (waiter.signal.aborted) throw cancelled()
      if (this.#context.closing.aborted) throw gatewayClosing()
      const held = this.#holds.enter(principalId)
      if (held !== undefined) return held
      await this.#wait(principalId, waiter)
    }
  }

  async #wait(principalId: PrincipalId, waiter: Waiter): Promise<void> {
    const task = this.#tasks.get(principalId) ?? this.#begin(principalId)
    task.waiters.add(waiter)
    if (task.sentence !== undefined) waiter.waiting(task.sentence)
    const late = AbortSignal.timeout(Math.max(0, Math.ceil(waiter.deadline - performance.now())))
    try {
      await unlessAborted(unlessAborted(task.done, waiter.signal, cancelled), late, () =>
        stillStarting(task.sentence ?? 'waiting'),
      )
    } finally {
      task.waiters.delete(waiter)
      if (task.waiters.size === 0) task.abandon.abort()
    }
  }

  #begin(principalId: PrincipalId): Task {
    const abandon = new AbortController()
    const { promise: done, resolve, reject } = Promise.withResolvers<Held>()
    const task: Task = { waiters: new Set(), sentence: undefined, abandon, done }
    const signal = AbortSignal.any([abandon.signal, this.#context.closing])
    // Abandoned by its last waiter, a task must not be joined any more, though it may take a moment to end.
    const forget = () => {
      if (this.#tasks.get(principalId) === task) this.#tasks.delete(principalId)
    }
    signal.addEventListener('abort', forget)
    done.then(forget, forget)
    this.#run(principalId, task, signal).then(resolve, (error: unknown) =>
      reject(error instanceof AppError ? error : databaseAway(error)),
    )
    this.#tasks.set(principalId, task)
    return task
  }

  async #run(principalId: PrincipalId, task: Task, signal: AbortSignal): Promise<Held> {
    const { store } = this.#context
    const { id } = await this.#row(principalId)
    using changes = this.#changes.watch(id)
    for (;;) {
      if (this.#context.closing.aborted) throw gatewayClosing()
      if (signal.aborted) throw cancelled()
      const row = await findRunner(store.db, { id })
      if (row === undefined) throw new Error('a runner row vanished')
      if (row.state === 'ready') {
        const held = await this.#holds.take(row)
        if (held !== undefined) return held
      }
      await changes.next(await this.#advance(row, task, signal), signal)
    }
  }

  /** Does the one thing that brings this row nearer to ready; returns how long to wait for news, in ms. */
  async #advance(row: RunnerRow, task: Task, signal: AbortSignal): Promise<number> {
    const { store } = this.#context
    switch (row.state) {
      case 'ready':
        if (!row.draining) return 20
        // It takes no more calls; the next one starts when it is gone.
        if (!row.wanted) await wantRunner(store.db, row.id)
        this.#say(task, waitingFor(row))
        return 1_000
      case 'stopped':
        return await this.#start(row, 'stopped', task, signal)
      case 'starting':
      case 'lost':
      case 'stopping':
        if (!row.wanted) await wantRunner(store.db, row.id)
        this.#say(task, waitingFor(row))
        return 1_000
      case 'failed':
        if (!row.wanted && row.nextAttemptInMs > 0) throw startFailure(row)
        if (!row.wanted) return await this.#start(row, 'failed', task, signal)
        this.#say(task, waitingFor(row))
        return 1_000
      case 'deleting':
      case 'deleted':
        throw new AppError('runner_failed', 'your sandbox was deleted; ask an admin for a new one')
    }
  }

  /** One caller of this replica at a time asks for a place among the starting, in order of arrival. */
  async #start(row: RunnerRow, from: 'stopped' | 'failed', task: Task, signal: AbortSignal): Promise<number> {
    const { store, replica, timings } = this.#context
    if (await this.#mustWaitForProxy(task)) return 250
    const tellFull = () => this.#say(task, 'waiting for a turn to start your sandbox: many are starting now')
    if (this.#full) tellFull()
    const turn = this.#turn.then(async () => {
      while (!signal.aborted) {
        const started = await startRunner(store.db, {
          id: row.id,
          from,
          generation: row.generation,
          sandboxUid: newId('sbx'),
          cap: timings.startingCap,
          replicaId: replica.id,
          cause: 'wanted',
          failures: 0,
        })
        this.#full = started === 'full'
        if (started !== 'full') return started
        tellFull()
        await sleep(50, undefined, { signal }).catch(() => undefined)
      }
      return undefined
    })
    this.#turn = turn.catch(() => undefined)
    const started = await turn
    if (started === undefined) return 0
    this.#say(task, waitingFor(started))
    this.#nudge()
    return 1_000
  }

  /**
   * Before the very first proxy there is nothing that a sandbox could trust. That is no failed start: nothing is
   * claimed and nothing counted, and whoever waits goes on the moment that a proxy has published its keys.
   */
  async #mustWaitForProxy(task: Task): Promise<boolean> {
    const isWithout = (await this.#context.caCertificate()) === undefined
    if (isWithout && !this.#isWithoutProxy)
      this.#context.log.info({}, 'sandboxes wait for the first egress proxy: start `toolcrib egress`')
    this.#isWithoutProxy = isWithout
    if (isWithout) this.#say(task, `waiting to start your sandbox: ${noProxyYet}`)
    return isWithout
  }

  async #row(principalId: PrincipalId): Promise<RunnerRow> {
    const { db } = this.#context.store
    const found = await findRunner(db, { principalId })
    if (found !== undefined) return found
    const owner = await findRunnerOwner(db, principalId)
    if (owner === undefined) throw new AppError('not_found', `there is no principal ${principalId}`)
    const name =
      owner.slackTeam === null || owner.slackUser === null
        ? runnerName({ kind: 'system' })
        : runnerName({
            kind: 'person',
            slackTeam: owner.slackTeam,
            slackUser: owner.slackUser,
            name: owner.name,
          })
    await ensureRunner(db, { principalId, name, homeName: `${name}-home` })
    const made = await findRunner(db, { principalId })
    if (made === undefined) throw new Error('a runner row vanished')
    return made
  }

  #say(task: Task, sentence: string): void {
    if (task.sentence === sentence) return
    task.sentence = sentence
    for (const waiter of task.waiters) waiter.waiting(sentence)
  }
}
