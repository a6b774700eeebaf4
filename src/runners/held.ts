import type { PrincipalId, RunnerId } from '../core/index.ts'
import type { RunnerRow } from '../store/index.ts'
import type { RunnerDriver, SandboxFacts, ToolhostDial } from './driver.ts'
import { Gate } from './gate.ts'
import type { SandboxIdentity } from './toolhost.ts'

/**
 * One generation of a runner that this replica holds: who it is, the open way to it, which sources were put, and
 * how many calls are on it. Everything that a warm call needs is here, in memory.
 */
export class Held {
  readonly runnerId: RunnerId
  readonly principalId: PrincipalId
  readonly name: string
  readonly generation: number
  readonly expect: SandboxIdentity
  readonly gate: Gate
  /** Sources put by this replica into this generation: id → digest and the put under way or done. */
  readonly puts = new Map<string, { digest: string; done: Promise<void> }>()
  /** Calls, and callers about to call. */
  active = 0
  /** It has lived its time: it takes no new calls, and is given back when the last one has ended. */
  draining = false
  linger: NodeJS.Timeout | undefined
  readonly #facts: SandboxFacts
  readonly #ended = new AbortController()
  #dial: Promise<ToolhostDial> | undefined
  #why = 'it ended'

  constructor(row: RunnerRow, limits: { places: number; queue: number; waitMs: number }) {
    if (row.sandboxUid === null || row.address === null)
      throw new Error('a ready runner has a sandbox and an address')
    this.runnerId = row.id
    this.principalId = row.principalId
    this.name = row.name
    this.generation = row.generation
    this.expect = { sandboxUid: row.sandboxUid, generation: row.generation }
    this.gate = new Gate(limits)
    this.#facts = {
      name: row.name,
      uid: row.sandboxUid,
      generation: row.generation,
      phase: 'running',
      address: row.address,
      message: null,
    }
  }

  /** Aborted when this generation ended, or this replica lost its hold. */
  get ended(): AbortSignal {
    return this.#ended.signal
  }

  /** Why it ended, in one sentence. */
  get why(): string {
    return this.#why
  }

  /** The way to the toolhost; one for all calls of this generation. */
  dial(driver: RunnerDriver): Promise<ToolhostDial> {
    if (this.#dial === undefined) {
      const dial = driver.dial(this.#facts)
      this.#dial = dial
      dial.catch(() => {
        if (this.#dial === dial) this.#dial = undefined
      })
    }
    return this.#dial
  }

  /** Forgets the way, so that the next call opens a new one. */
  hangUp(): void {
    this.#dial?.then(
      (dial) => dial.release(),
      () => undefined,
    )
    this.#dial = undefined
  }

  end(why: string): void {
    if (this.ended.aborted) return
    this.#why = why
    clearTimeout(this.linger)
    this.#ended.abort()
    this.hangUp()
  }
}
