import { AppError } from '../core/index.ts'
import type { RunnerRow } from '../store/index.ts'

export const noProxyYet = 'no egress proxy has started yet; start `toolcrib egress`'

/** What a caller waits for, in one sentence. */
export function waitingFor(row: RunnerRow): string {
  switch (row.state) {
    case 'stopped':
      return 'starting your sandbox'
    case 'starting':
      return `starting your sandbox: ${row.message ?? row.phase ?? 'creating'}`
    case 'ready':
      return row.draining
        ? `your sandbox is being replaced (${row.message ?? 'it has run long'}); a new one starts when its last calls have ended`
        : 'connecting to your sandbox'
    case 'lost':
    case 'stopping':
      return `your sandbox is ending (${row.message ?? 'stopped'}); a new one starts right after`
    case 'failed':
      return `your sandbox failed to start (${row.message ?? 'no reason known'}); trying again soon`
    case 'deleting':
    case 'deleted':
      return 'your sandbox is being deleted'
  }
}

/** The error of a call whose runner cannot be started now. */
export function startFailure(row: RunnerRow): AppError {
  const seconds = Math.max(1, Math.ceil(row.nextAttemptInMs / 1000))
  return new AppError(
    row.reason === 'egress_not_enforced' ? 'egress_not_enforced' : 'runner_failed',
    `your sandbox could not be started: ${row.message ?? 'no reason known'}; nothing was run; try again in ${seconds} s, or ask an admin`,
    { details: { retryAfterSeconds: seconds } },
  )
}

/** The error of a call that has waited as long as a call may. */
export function stillStarting(sentence: string): AppError {
  return new AppError(
    'runner_starting',
    `your sandbox is still starting (${sentence}); nothing was run; try again in 10 s`,
    { details: { retryAfterSeconds: 10 } },
  )
}

export function databaseAway(cause: unknown): AppError {
  return new AppError('unavailable', 'the database does not answer; nothing was run; try again shortly', {
    cause,
    details: { retryAfterSeconds: 5 },
  })
}

export function gatewayClosing(): AppError {
  return new AppError('unavailable', 'this gateway is closing; nothing was run; try again', {
    details: { retryAfterSeconds: 1 },
  })
}
