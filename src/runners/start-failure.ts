import type { AppError } from '../core/index.ts'
import { clearFailedSandbox, type Fence, moveRunner, type RunnerRow } from '../store/index.ts'
import type { Context } from './options.ts'

/** Why a start failed: a code and a sentence. */
export interface StartFailure {
  cause: string
  message: string
  /** Trying again at once would only fail again. */
  fatal?: true
}

/**
 * Records that a start failed and when the next is due; then takes the sandbox away. In this order: a replica
 * that was paused and lost its claim must not end a sandbox that another one has made ready since.
 */
export async function failStart(
  context: Context,
  row: RunnerRow,
  fence: Fence,
  failure: StartFailure,
  signal: AbortSignal,
): Promise<undefined> {
  const { driver, store, replica, timings, log } = context
  const failures = row.failures + 1
  const backoff = failure.fatal === true ? undefined : timings.startBackoffMs[failures - 1]
  const moved = await moveRunner(store.db, {
    id: row.id,
    from: 'starting',
    to: 'failed',
    generation: row.generation,
    fence,
    replicaId: replica.id,
    cause: failure.cause,
    message: failure.message,
    set: {
      failures,
      nextAttemptMs: backoff ?? (failure.fatal === true ? timings.fatalGiveUpMs : timings.giveUpMs),
      ...(backoff === undefined ? { wanted: false } : {}),
    },
  })
  if (moved === undefined) return
  context.changed(row.id)
  const { sandboxUid } = row
  if (sandboxUid === null) return
  try {
    await driver.delete(row.name, sandboxUid, 0, signal)
    const left = await driver.observe(row.name, signal)
    if (left?.uid !== sandboxUid) await clearFailedSandbox(store.db, row.id, sandboxUid)
  } catch (err) {
    // The row still names it, and the step of a failed runner ends it.
    log.warn({ runner: row.name, err }, 'ending a failed sandbox failed')
  }
}

export const gone: StartFailure = { cause: 'sandbox_gone', message: 'its sandbox ended while it booted' }

export function fatal(err: AppError): { fatal?: true } {
  return err.code === 'isolation_unavailable' || err.code === 'egress_not_enforced' ? { fatal: true } : {}
}

export function startedTooLong(context: Context, row: RunnerRow): StartFailure | undefined {
  return row.startingForMs > context.timings.startDeadlineMs ? tooLong(context, row.message) : undefined
}

export function tooLong(context: Context, message: string | null): StartFailure {
  const seconds = Math.round(context.timings.startDeadlineMs / 1000)
  return {
    cause: 'start_timeout',
    message: `it was not ready after ${seconds} s (${message ?? 'the toolhost did not answer'})`,
  }
}
