import type { PrincipalId, RunnerId } from '../core/index.ts'
import { findRunner, listHolds, type RunnerRow, releaseHold, takeHold } from '../store/index.ts'
import { stopDrained } from './cull.ts'
import { Held } from './held.ts'
import type { Context } from './options.ts'

/** What this replica holds, by principal; the database has the same as rows, and `compare` keeps the two equal. */
export class Holds {
  readonly #context: Context
  readonly #held = new Map<PrincipalId, Held>()
  /** Takes and releases under way, one at a time for each runner. */
  readonly #busy = new Map<RunnerId, Promise<unknown>>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Whether `enter` would find it. */
  has(principalId: PrincipalId): boolean {
    const held = this.#held.get(principalId)
    // With a stale heartbeat others may have reaped the hold and stopped the runner.
    return held !== undefined && !held.draining && this.#context.replica.isFresh()
  }

  /** The runner that this replica certainly holds, without asking anybody; counts as active until `leave`. */
  enter(principalId: PrincipalId): Held | undefined {
    const held = this.#held.get(principalId)
    if (held === undefined || !this.has(principalId)) return undefined
    held.active++
    clearTimeout(held.linger)
    return held
  }

  leave(held: Held): void {
    held.active--
    if (held.active > 0 || held.ended.aborted) return
    if (held.draining) this.#giveBack(held, 'it was drained')
    else this.#lingerThenRelease(held)
  }

  /** Takes the hold if the runner is ready, or confirms the one there is; it stays at least for the linger time. */
  async take(row: RunnerRow): Promise<Held | undefined> {
    return await this.#alone(row.id, async () => {
      const { store, replica, limits, timings } = this.#context
      if (!replica.isFresh()) await replica.beatNow()
      const taken = await takeHold(store.db, row.id, replica.id)
      const known = this.#held.get(row.principalId)
      if (taken !== undefined && known?.generation === taken.generation) return known
      if (known !== undefined) {
        // A runner that drains gives no new hold and leaves the calls that it has.
        if (taken === undefined) await this.check(row.id)
        if (!known.draining || taken !== undefined) this.end(known, 'its sandbox was replaced')
      }
      if (taken === undefined) return undefined
      const held = new Held(taken, {
        places: limits.parallelCalls,
        queue: limits.queuedCalls,
        waitMs: timings.queueWaitMs,
      })
      this.#held.set(row.principalId, held)
      this.#lingerThenRelease(held)
      return held
    })
  }

  /** This generation is over, as far as this replica is concerned: its calls end. */
  end(held: Held, why: string): void {
    if (this.#held.get(held.principalId) === held) this.#held.delete(held.principalId)
    held.end(why)
  }

  /** After a notice: reads the row of a held runner again, ends what is over and drains what has lived its time. */
  async check(id: RunnerId): Promise<void> {
    const held = this.#byRunner(id)
    if (held === undefined) return
    const row = await findRunner(this.#context.store.db, { id })
    if (row === undefined || row.state !== 'ready' || row.generation !== held.generation) {
      this.end(held, row?.message ?? 'its sandbox ended')
    } else if (row.draining) this.#drain(held)
  }

  /** Compares memory with the database: gives back what was forgotten, retakes or ends what was reaped. */
  async compare(): Promise<void> {
    const before = [...this.#held.values()]
    const rows = await listHolds(this.#context.store.db, this.#context.replica.id)
    const generations = new Map(rows.map((row) => [row.runnerId, row.generation]))
    for (const held of before) {
      if (generations.get(held.runnerId) === held.generation || held.ended.aborted) continue
      const row = await findRunner(this.#context.store.db, { id: held.runnerId })
      const retaken =
        row?.state === 'ready' && row.generation === held.generation ? await this.take(row) : undefined
      if (retaken !== held) this.end(held, row?.message ?? 'its sandbox ended')
    }
    for (const { runnerId, generation, draining } of rows) {
      const held = this.#byRunner(runnerId)
      if (held?.generation === generation && draining) this.#drain(held)
      if (held !== undefined || this.#busy.has(runnerId)) continue
      await this.#alone(runnerId, () => this.#release(runnerId, generation))
    }
  }

  get active(): number {
    let active = 0
    for (const held of this.#held.values()) active += held.active
    return active
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    const all = [...this.#held.values()]
    for (const held of all) this.end(held, 'this gateway is closing')
    await Promise.allSettled(
      all.map((held) => this.#alone(held.runnerId, () => this.#release(held.runnerId, held.generation))),
    )
  }

  #byRunner(id: RunnerId): Held | undefined {
    for (const held of this.#held.values()) if (held.runnerId === id) return held
    return undefined
  }

  #drain(held: Held): void {
    if (held.draining) return
    held.draining = true
    if (held.active === 0) this.#giveBack(held, 'it was drained')
  }

  #lingerThenRelease(held: Held): void {
    clearTimeout(held.linger)
    held.linger = setTimeout(() => {
      if (held.active === 0) this.#giveBack(held, 'it is idle')
    }, this.#context.timings.holdLingerMs)
  }

  /** Releases a hold that no call needs, and ends a drained runner whose last hold it was. */
  #giveBack(held: Held, why: string): void {
    if (held.ended.aborted) return
    this.end(held, why)
    this.#alone(held.runnerId, async () => {
      await this.#release(held.runnerId, held.generation)
      if (held.draining) await stopDrained(this.#context, { id: held.runnerId, generation: held.generation })
    }).catch((err: unknown) =>
      // `compare` finds the row and tries again, and the next look for old runners ends it.
      this.#context.log.warn({ runnerId: held.runnerId, err }, 'releasing a hold failed'),
    )
  }

  async #release(runnerId: RunnerId, generation: number): Promise<void> {
    // Taken again while this release waited for its turn.
    if (this.#byRunner(runnerId)?.generation === generation) return
    await releaseHold(this.#context.store.db, runnerId, this.#context.replica.id, generation)
  }

  async #alone<T>(id: RunnerId, work: () => Promise<T>): Promise<T> {
    const turn = (this.#busy.get(id) ?? Promise.resolve()).then(work, work)
    const settled = turn.catch(() => undefined)
    this.#busy.set(id, settled)
    try {
      return await turn
    } finally {
      if (this.#busy.get(id) === settled) this.#busy.delete(id)
    }
  }
}
