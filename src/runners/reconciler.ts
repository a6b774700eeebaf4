import { AppError, type RunnerId } from '../core/index.ts'
import { claimRunners, noteRunner, type RunnerRow, releaseClaim } from '../store/index.ts'
import type { Context } from './options.ts'
import { stepStarting } from './step-start.ts'
import { stepFailed, stepLost, stepStopping } from './step-stop.ts'

const parallelSteps = 10

/**
 * Claims runners that need work and does one level-triggered step on each: read the row and the sandbox, do one
 * thing, write fenced. A step that fails or hangs changes nothing and is taken up again, here or elsewhere.
 */
export class Reconciler {
  readonly #context: Context
  readonly #running = new Set<Promise<void>>()
  /** Consecutive failures of steps, by runner, for the wait before the next. */
  readonly #doubts = new Map<RunnerId, number>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Claims what is due and sets steps going; returns how many. */
  async claim(finished: () => void): Promise<number> {
    const { store, replica, timings } = this.#context
    const limit = parallelSteps - this.#running.size
    if (limit <= 0) return 0
    const rows = await claimRunners(store.db, {
      replicaId: replica.id,
      limit,
      leaseSeconds: timings.leaseSeconds,
    })
    for (const row of rows) {
      const step = this.#step(row).finally(() => {
        this.#running.delete(step)
        finished()
      })
      this.#running.add(step)
    }
    return rows.length
  }

  /** Waits for the steps under way. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#running)
  }

  async #step(row: RunnerRow): Promise<void> {
    const { store, replica, timings, log, closing } = this.#context
    const fence = { owner: replica.id, epoch: row.leaseEpoch }
    const signal = AbortSignal.any([closing, AbortSignal.timeout(timings.stepMs)])
    let again: number | undefined
    try {
      again = await this.#dispatch(row, fence, signal)
      this.#doubts.delete(row.id)
    } catch (err) {
      const doubts = (this.#doubts.get(row.id) ?? 0) + 1
      this.#doubts.set(row.id, doubts)
      again = closing.aborted ? 0 : Math.min(250 * 2 ** (doubts - 1), 10_000)
      log.warn({ runner: row.name, state: row.state, again, err }, 'runner step failed; nothing was decided')
      if (row.state === 'starting' && err instanceof AppError && !closing.aborted)
        await noteRunner(store.db, row.id, fence, { message: err.message }).catch(() => undefined)
    }
    if (again === undefined) return
    try {
      await releaseClaim(store.db, row.id, fence, again)
    } catch (err) {
      log.warn({ runner: row.name, err }, 'a claim could not be given back; it ends with its lease')
    }
  }

  async #dispatch(
    row: RunnerRow,
    fence: { owner: Context['replica']['id']; epoch: number },
    signal: AbortSignal,
  ): Promise<number | undefined> {
    switch (row.state) {
      case 'starting':
        return await stepStarting(this.#context, row, fence, signal)
      case 'lost':
        return await stepLost(this.#context, row, fence)
      case 'stopping':
        return await stepStopping(this.#context, row, fence, signal)
      case 'failed':
        return await stepFailed(this.#context, row, fence, signal)
      case 'stopped':
      case 'ready':
      case 'deleting':
      case 'deleted':
        return 0
    }
  }
}
