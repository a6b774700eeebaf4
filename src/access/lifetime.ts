import { AppError, formatDuration } from '../core/index.ts'

/** Shorter than this nobody can paste it in time. */
export const minLifetimeMs = 5 * 60_000

export interface Lifetimes {
  maxLifetimeMs: number
  defaultLifetimeMs: number
}

/** Throws unless the operator's own settings make sense together. */
export function checkLifetimes({ maxLifetimeMs, defaultLifetimeMs }: Lifetimes): void {
  if (defaultLifetimeMs >= minLifetimeMs && defaultLifetimeMs <= maxLifetimeMs) return
  throw new AppError(
    'invalid_input',
    `the default lifetime of a token (${formatDuration(defaultLifetimeMs)}) must lie between ${formatDuration(minLifetimeMs)} and the maximum (${formatDuration(maxLifetimeMs)})`,
  )
}

/** The lifetime asked for, or the default; every token expires. Throws `invalid_input` with what is allowed. */
export function chooseLifetime(
  asked: number | undefined,
  { maxLifetimeMs, defaultLifetimeMs }: Lifetimes,
): number {
  if (asked === undefined) return defaultLifetimeMs
  if (asked >= minLifetimeMs && asked <= maxLifetimeMs) return asked
  const given = Number.isFinite(asked) && asked >= 0 ? formatDuration(asked) : String(asked)
  throw new AppError(
    'invalid_input',
    `A token may live from ${formatDuration(minLifetimeMs)} to ${formatDuration(maxLifetimeMs)}; ${given} was asked for.`,
    { details: { minLifetimeMs, maxLifetimeMs } },
  )
}
