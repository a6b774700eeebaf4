import { AppError, systemClock } from '../core/index.ts'
import { createCallRows } from '../store/index.ts'
import { createArgumentsCheck } from './arguments.ts'
import { carryCall } from './carry.ts'
import type { CallDeps, CallsOptions } from './deps.ts'
import { createFlights } from './flights.ts'
import { visibleTools } from './list.ts'
import { createRecorder } from './recorder.ts'
import type { Calls } from './types.ts'

export interface CallsRoom extends Calls {
  /** Ends the calls in flight that may no longer run; done by itself on notices and every half second. */
  cancelEnded(): Promise<void>
  /** Settles when the outcomes of all calls that were answered are written, or after `ms`. */
  recorded(ms: number): Promise<void>
  /** Ends what is in flight and waits, at most 10 s, until its outcomes are written. */
  [Symbol.asyncDispose](): Promise<void>
}

const defaultMaxResultBytes = 4 * 1024 * 1024
const drainMs = 10_000

export function createCalls(options: CallsOptions): CallsRoom {
  const flights = createFlights(options)
  const rows = createCallRows(options.store.pool)
  const recorder = createRecorder({ ...options, rows })
  const running = new Set<Promise<unknown>>()
  const keep = <Value>(work: Promise<Value>): Promise<Value> => {
    running.add(work)
    const done = () => void running.delete(work)
    work.then(done, done)
    return work
  }
  const background = (work: Promise<void>): void => {
    keep(work).catch((err: unknown) => options.log.error({ err }, 'recording a call failed'))
  }
  const deps: CallDeps = {
    ...options,
    clock: options.clock ?? systemClock,
    maxResultBytes: options.maxResultBytes ?? defaultMaxResultBytes,
    flights,
    recorder,
    rows,
    demandValid: createArgumentsCheck(),
    background,
  }
  const stopListening = options.notices?.on((notice) => {
    if (notice.kind === 'egress_denied') flights.note(notice.callIds, notice.sentence)
    if (notice.kind === 'token' || notice.kind === 'principal' || notice.kind === 'catalog')
      flights
        .cancelEnded()
        .catch((err: unknown) => options.log.warn({ err }, 'could not look after the calls in flight'))
  })

  return {
    async list(caller, toolkit) {
      return visibleTools(await options.catalog.current(caller.catalogVersion), { caller, toolkit })
    },
    call: async (request, hooks) => await keep(carryCall(deps, request, hooks)),
    cancelEnded: async () => await flights.cancelEnded(),
    recorded: async (ms) => await recorder.drain(ms),
    async [Symbol.asyncDispose]() {
      stopListening?.()
      flights.endAll(
        new AppError(
          'unavailable',
          'The server is restarting and ended this call; part of it may have been done. Look before you call again.',
        ),
      )
      const until = deps.clock.now() + drainMs
      while (running.size > 0 && deps.clock.now() < until)
        await Promise.race([
          Promise.allSettled(running),
          new Promise((resolve) => setTimeout(resolve, 1_000)),
        ])
      await recorder.drain(drainMs)
    },
  }
}
