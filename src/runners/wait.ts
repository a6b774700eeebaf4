import type { RunnerId } from '../core/index.ts'
import type { Notices } from '../store/index.ts'

/** Wakes whoever waits for a runner's row to change. A hint, so every wait also ends by itself. */
export class RowChanges {
  readonly #waiting = new Map<string, Set<() => void>>()
  readonly #stop: () => void

  constructor(notices: Notices, changed: (id: RunnerId) => void) {
    this.#stop = notices.on((notice) => {
      if (notice.kind !== 'runner') return
      this.wake(notice.id)
      changed(notice.id as RunnerId)
    })
  }

  wake(id: string): void {
    for (const heard of this.#waiting.get(id) ?? []) heard()
  }

  /** Starts listening now, so that a change between reading a row and waiting for it is not missed. */
  watch(id: RunnerId): { next(ms: number, signal: AbortSignal): Promise<void>; [Symbol.dispose](): void } {
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

  close(): void {
    this.#stop()
  }
}
