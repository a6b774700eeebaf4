import { findRunner, listRunners, type RunnerRow, recordOrphan } from '../store/index.ts'
import type { SandboxFacts } from './driver.ts'
import type { Context } from './options.ts'

/**
 * Finds sandboxes of ours that no row wants, and ends those seen so in two sweeps in a row. The rows are read
 * after the list: a row is always written before its sandbox is made, so what the list shows, the rows know.
 * Homes are never touched.
 */
export class Sweep {
  readonly #context: Context
  /** Orphans of the last sweep, `name uid` → when it was first seen. */
  #suspects = new Map<string, number>()

  constructor(context: Context) {
    this.#context = context
  }

  /** One sweep. A list that cannot be had forgets the suspects: two sightings must follow each other. */
  async run(signal: AbortSignal): Promise<void> {
    const { driver, store, timings } = this.#context
    const before = this.#suspects
    this.#suspects = new Map()
    const sandboxes = await driver.list(signal)
    const rows = new Map((await listRunners(store.db)).map((row) => [row.name, row]))
    for (const facts of sandboxes) {
      if (!isOrphan(rows.get(facts.name))) continue
      const key = `${facts.name} ${facts.uid}`
      const since = before.get(key) ?? performance.now()
      this.#suspects.set(key, since)
      // At first sight no time has passed. Timers may be a little early.
      if (performance.now() - since >= timings.sweepMs * 0.9) {
        await this.#end(facts, signal)
        this.#suspects.delete(key)
      }
    }
  }

  async #end(suspect: SandboxFacts, signal: AbortSignal): Promise<void> {
    const { driver, store, replica, timings, log } = this.#context
    const facts = await driver.observe(suspect.name, signal)
    const row = await findRunner(store.db, { name: suspect.name })
    if (facts?.uid !== suspect.uid || !isOrphan(row)) return
    log.warn(
      { runner: facts.name, uid: facts.uid, generation: facts.generation },
      'ending an orphaned sandbox',
    )
    await driver.delete(facts.name, facts.uid, timings.stopGraceMs, signal)
    await recordOrphan(store.db, {
      row,
      name: facts.name,
      generation: facts.generation,
      replicaId: replica.id,
    })
  }
}

/** Runners on their way somewhere have a step at work on them, which knows better. */
function isOrphan(row: RunnerRow | undefined): boolean {
  return row === undefined || row.state === 'stopped' || row.state === 'failed' || row.state === 'deleted'
}
