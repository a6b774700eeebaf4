import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../core/index.ts'
import { type CallEnd, type CallRows, type NewCall, recordCall, type Store } from '../store/index.ts'

/** A call's row: none yet, certainly there, or asked for without an answer. */
export type RowState = 'none' | 'written' | 'unsure'

export interface Recorder {
  /**
   * Records the one outcome of a call. Resolves when it is written, or after two seconds, or when it could not be
   * written now; it is then tried again until it is, at most once in effect.
   */
  finish(call: NewCall, row: RowState, end: CallEnd): Promise<void>
  /** Waits, at most `ms`, for what is still unwritten. */
  drain(ms: number): Promise<void>
}

interface Unwritten {
  call: NewCall
  row: RowState
  end: CallEnd
}

const patienceMs = 2_000
const firstDelayMs = 100
const longestDelayMs = 5_000
const mostUnwritten = 2_000

export function createRecorder({
  store,
  rows,
  log,
}: {
  store: Pick<Store, 'pool'>
  rows: Pick<CallRows, 'finish'>
  log: Log
}): Recorder {
  const queue: Unwritten[] = []
  const writing = new Set<Promise<void>>()
  let retrying: Promise<void> | undefined

  const write = async ({ call, row, end }: Unwritten): Promise<void> => {
    const written =
      row === 'written' ? await rows.finish(call.id, end) : await recordCall(store.pool, call, end)
    if (!written) log.warn({ callId: call.id, outcome: end.outcome }, 'call had an outcome already')
  }

  const retry = async (): Promise<void> => {
    let delay = firstDelayMs
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      try {
        await write(next)
        queue.shift()
        delay = firstDelayMs
      } catch (err) {
        log.warn({ err, callId: next.call.id, unwritten: queue.length }, 'call outcome not written yet')
        // Another may be writable: no single record may hold up all others.
        queue.push(...queue.splice(0, 1))
        await sleep(delay, undefined, { ref: false })
        delay = Math.min(delay * 2, longestDelayMs)
      }
    }
    retrying = undefined
  }

  const keep = (item: Unwritten): void => {
    // Calls that ran are few while the database is away, because none begins; refusals can be any number.
    if (item.row === 'none' && queue.length >= mostUnwritten) {
      log.error({ callId: item.call.id, event: item.end.event }, 'call outcome dropped: too many unwritten')
      return
    }
    queue.push(item)
    retrying ??= retry()
  }

  return {
    async finish(call, row, end) {
      const item = { call, row, end }
      const attempt: Promise<void> = write(item)
        .catch((err: unknown) => {
          log.warn({ err, callId: call.id }, 'call outcome not written yet')
          keep(item)
        })
        .finally(() => writing.delete(attempt))
      writing.add(attempt)
      await settledWithin(attempt, patienceMs)
    },
    async drain(ms) {
      const all = Promise.all(writing).then(async () => await retrying)
      await settledWithin(all, ms)
    },
  }
}

/** Waits for `work`, but not longer than `ms`. A plain timer: an aborted one costs more than the rest of a call. */
async function settledWithin(work: Promise<unknown>, ms: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, ms).unref()
    work.then(() => resolve(), reject).finally(() => clearTimeout(timer))
  })
}
