import { AppError } from '../core/index.ts'

/**
 * Lets `places` calls through at a time, the rest in order of arrival: at most `queue` of them, each for at most
 * `waitMs`. It makes one gateway fair to itself; the toolhost enforces the limit for all of them.
 */
export class Gate {
  #free: number
  readonly #queue: (() => void)[] = []
  readonly #limits: { places: number; queue: number; waitMs: number }

  constructor(limits: { places: number; queue: number; waitMs: number }) {
    this.#limits = limits
    this.#free = limits.places
  }

  /** Returns at once when there is a place. Throws `runner_busy`, or `call_cancelled` when `signal` aborts. */
  enter(signal: AbortSignal): Promise<void> | undefined {
    if (this.#free > 0) {
      this.#free--
      return undefined
    }
    if (this.#queue.length >= this.#limits.queue) return Promise.reject(busy())
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', cancel)
      }
      const giveUp = (error: AppError) => {
        leave()
        this.#queue.splice(this.#queue.indexOf(admit), 1)
        reject(error)
      }
      const cancel = () => giveUp(cancelled())
      const admit = () => {
        leave()
        resolve()
      }
      const timer = setTimeout(() => giveUp(busy()), this.#limits.waitMs)
      signal.addEventListener('abort', cancel)
      this.#queue.push(admit)
    })
  }

  leave(): void {
    const next = this.#queue.shift()
    if (next === undefined) this.#free++
    else next()
  }
}

export function busy(): AppError {
  return new AppError(
    'runner_busy',
    'your sandbox is busy with other calls and its queue is full; nothing was run; try again when one has ended',
    { details: { retryAfterSeconds: 5 } },
  )
}

export function cancelled(): AppError {
  return new AppError('call_cancelled', 'the call was cancelled before anything was sent to the sandbox')
}
