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
    const told = error instanceof AppError ? error.message : `unexpected: ${String(error)}`
    io.stderr.write(`toolcrib: ${told}\n`)
    return error instanceof AppError && error.code === 'invalid_input' ? exitCodes.usage : exitCodes.failed
  }
}

/** Commands added by others too must write to these streams and throw instead of ending the process. */
function hand(command: Command, io: CliIo): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => void io.stdout.write(text),
    writeErr: (text) => void io.stderr.write(text),
  })
  for (const below of command.commands) hand(below, io)
}
