import { Command, CommanderError } from 'commander'
import { AppError } from '../core/index.ts'
import { addAudit } from './commands/audit.ts'
import { addCredentials } from './commands/credentials.ts'
import { addDoctor } from './commands/doctor.ts'
import { addPeople } from './commands/people.ts'
import { addRunners } from './commands/runners.ts'
import { addTokens } from './commands/tokens.ts'
import { addTools } from './commands/tools.ts'
import { CliFailure, exitCodes } from './failure.ts'
import type { CliIo } from './io.ts'

/** The program `toolcrib` with every command that speaks to a server; `main.ts` adds those that are one. */
export function buildCli(io: CliIo): Command {
  const program = new Command('toolcrib').description('The company’s tools for coding agents, over MCP.')
  addTokens(program, io)
  addPeople(program, io)
  addRunners(program, io)
  addTools(program, io)
  addCredentials(program, io)
  addAudit(program, io)
  addDoctor(program, io)
  return program.addHelpText(
    'after',
    '\nExit codes: 0 done, 1 failed, 2 wrong use, 3 server not reachable, 4 refused.\n\nExample:\n  $ toolcrib tokens issue --for alice',
  )
}

/**
 * Runs one command line (without the program's own name) and returns its exit code; never ends the process.
 * Errors are told in one sentence on standard error.
 */
export async function runCli(argv: string[], io: CliIo, program: Command = buildCli(io)): Promise<number> {
  hand(program, io)
  try {
    await program.parseAsync(argv, { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    // Commander has already said what was wrong, or printed the help.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    if (error instanceof CliFailure) {
      io.stderr.write(`toolcrib: ${error.message}\n`)
      return error.exitCode
    }
    io.stderr.write(`toolcrib: ${inWords(error)}\n`)
    return error instanceof AppError && error.code === 'invalid_input' ? exitCodes.usage : exitCodes.failed
  }
}

/** Why a server on this machine did not start, with the cure; what an `AppError` hides goes below, for its owner. */
function inWords(error: unknown): string {
  if (error instanceof AppError) return [error.message, ...causes(error)].join('\n  because: ')
  const { code, path } = error as NodeJS.ErrnoException
  const place = path === undefined ? '' : `: ${path}`
  if (code === 'ENOSPC') return `the disk is full; free some space and start again${place}`
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return `this user may not write here; choose another folder or change its owner${place}`
  return `unexpected: ${String(error)}`
}

function causes(error: AppError): string[] {
  const { cause } = error
  if (!(cause instanceof Error)) return []
  const lines = cause.message.split('\n').filter((line) => line.trim() !== '')
  return [...lines.slice(0, 2), ...(cause instanceof AppError ? causes(cause) : [])]
}

/** Commands added by others too must write to these streams and throw instead of ending the process. */
function hand(command: Command, io: CliIo): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => void io.stdout.write(text),
    writeErr: (text) => void io.stderr.write(text),
  })
  for (const below of command.commands) hand(below, io)
}
