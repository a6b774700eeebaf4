/** What the exit code of a command says; documented in docs/reference/cli.md. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, unreachable: 3, refused: 4 } as const

/** A command that did not do what was asked; the message is for the person at the terminal. */
export class CliFailure extends Error {
  override readonly name = 'CliFailure'
  readonly exitCode: number

  constructor(how: keyof typeof exitCodes, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.exitCode = exitCodes[how]
  }
}
