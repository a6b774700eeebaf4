/**
 * Every error that a person, a client or an operator can meet, by code. `status` is the HTTP status where the
 * error ends a request; `docs/reference/errors.md` explains each, and a test compares the two.
 */
export const errorCodes = {
  invalid_input: 400,
  unauthenticated: 401,
  token_malformed: 403,
  token_unknown: 403,
  token_expired: 403,
  token_revoked: 403,
  principal_deactivated: 403,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  too_large: 413,
  rate_limited: 429,
  internal: 500,
  unavailable: 503,
  tool_unknown: 400,
  tool_blocked: 403,
  tool_unreviewed: 403,
  arguments_invalid: 400,
  runner_busy: 503,
  runner_starting: 503,
  runner_failed: 503,
  egress_not_enforced: 503,
  isolation_unavailable: 500,
  source_failed: 502,
  source_crashed: 502,
  source_invalid_output: 502,
  call_timed_out: 504,
  call_cancelled: 499,
  outcome_unknown: 502,
} as const

export type ErrorCode = keyof typeof errorCodes

/**
 * An error whose message is written for the person who meets it: what happened, what was given, what would
 * work. `details` must be safe to show; put foreign text and internals into `cause`, which is only logged.
 */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly details: Record<string, unknown>

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Record<string, unknown> } = {},
  ) {
    super(message, { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
  }

  get status(): number {
    return errorCodes[this.code]
  }

  toJSON(): { code: ErrorCode; message: string; details: Record<string, unknown> } {
    return { code: this.code, message: this.message, details: this.details }
  }
}

/** `error` itself when it is ours; otherwise a constant sentence around it, so that foreign text is never shown. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  return new AppError(
    'internal',
    'Something went wrong on our side. Try again; an admin finds the cause in the log.',
    {
      cause: error,
    },
  )
}
