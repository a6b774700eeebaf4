import type { RunnerId } from '../core/index.ts'
import type { Notices } from '../store/index.ts'

/** Wakes whoever waits for the thing with a name to change. A hint, so every wait also ends by itself. */
export class Changes {
  readonly #waiting = new Map<string, Set<() => void>>()

  wake(id: string): void {
    for (const heard of this.#waiting.get(id) ?? []) heard()
  }

  /** Starts listening now, so that a change between a look and the wait for the next is not missed. */
  watch(id: string): { next(ms: number, signal: AbortSignal): Promise<void>; [Symbol.dispose](): void } {
    let changed = false
    let wake: (() => void) | undefined
    const heard = () => {
      changed = true
      wake?.()
    }
    const waiting = this.#waiting.get(id) ?? new Set()
    this.#waiting.set(id, waiting.add(heard))
    return {
      async next(ms, signal) {
        if (!changed) {
          await new Promise<void>((resolve) => {
            const end = () => {
              clearTimeout(timer)
              signal.removeEventListener('abort', end)
              wake = undefined
              resolve()
            }
            const timer = setTimeout(end, ms)
            wake = end
            signal.addEventListener('abort', end)
            if (signal.aborted) end()
          })
        }
        changed = false
      },
      [Symbol.dispose]: () => {
        waiting.delete(heard)
        if (waiting.size === 0 && this.#waiting.get(id) === waiting) this.#waiting.delete(id)
      },
    }
  }
}

/** The same for runners' rows, told by notices of any replica. */
export class RowChanges extends Changes {
  readonly #stop: () => void

  constructor(notices: Notices, changed: (id: RunnerId) => void) {
    super()
    this.#stop = notices.on((notice) => {
      if (notice.kind !== 'runner') return
      this.wake(notice.id)
      changed(notice.id as RunnerId)
    })
  }

  close(): void {
    this.#stop()
  }
}
