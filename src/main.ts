import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildCli, runCli } from './cli/index.ts'
import { cliEnvironment, processEnvironment } from './config.ts'
import { addDatabaseCommands, addDev, addKeys, addServers } from './main-commands.ts'

const entry = fileURLToPath(new URL('../bin/toolcrib.mjs', import.meta.url))
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}

/**
 * The command line. Returns the exit code: 0 done, 1 failed, 2 wrong usage or configuration, 3 server not
 * reachable, 4 refused. Starting a server resolves when it was told to stop and everything is closed.
 */
export async function main(argv: string[]): Promise<number> {
  // Whoever reads may have seen enough, as `head` has: nobody needs to hear of that.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
  const io = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    environment: cliEnvironment(processEnvironment),
    connectionFile: join('.toolcrib', 'dev', 'connection.json'),
  }
  const program = buildCli(io).version(version)
  addServers(program, version)
  addDatabaseCommands(program)
  addKeys(program)
  addDev(program, version, entry)
  return await runCli(argv, io, program)
}
