import type { DenialReason } from '../decision/denial.ts'

/** The failure's code for the one who asked; its cause is for the log. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly reason: Extract<DenialReason, `upstream_${string}`>
  /** The upstream has proven that it did not begin, and takes requests on another connection: this one ends. */
  readonly goesElsewhere: boolean

  constructor(reason: UpstreamError['reason'], cause: unknown, goesElsewhere = false) {
    super(reason, { cause })
    this.reason = reason
    this.goesElsewhere = goesElsewhere
  }
}

/** What an error of an upstream request means to the one who asked. */
export function upstreamFailure(error: unknown): UpstreamError['reason'] {
  return error instanceof UpstreamError ? error.reason : 'upstream_failed'
}

/**
 * The codes of an error and its causes, for the log. Never the error itself: a parser's error carries the bytes
 * that it stumbled over, and those may be an echoed credential.
 */
export function failureCode(error: unknown): string {
  const codes: string[] = []
  for (let at = error; at instanceof Error && codes.length < 4; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException
    codes.push(at instanceof UpstreamError ? at.reason : typeof code === 'string' ? code : at.name)
  }
  return codes.join(' < ')
}

/** Where in the code an error was thrown, for the log: without its message, for the same reason. */
export function failurePlace(error: unknown): string[] {
  const lines = error instanceof Error ? (error.stack ?? '').split('\n') : []
  return lines
    .filter((line) => /^\s+at /.test(line))
    .map((line) => line.trim())
    .slice(0, 5)
}
