import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { InvalidArgumentError, Option } from 'commander'
import { buildCli, runCli } from './cli/index.ts'
import { type Config, cliEnvironment, processEnvironment, readConfig } from './config.ts'
import { createLog, type Log } from './core/index.ts'
import { runEgress } from './main-egress.ts'
import { apply, migrateDatabase, serve } from './main-serve.ts'

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
  const config = new Option('-c, --config <file>', 'configuration file').default(
    undefined,
    'TOOLCRIB_CONFIG, else toolcrib.yaml',
  )
  const json = new Option('--json', 'print one JSON line when ready, for scripts')

  program
    .command('serve')
    .description('run the gateway: MCP endpoint, Slack app, admin API, sandboxes')
    .addOption(config)
    .addOption(json)
    .action(async (options: { config?: string; json?: boolean }) => {
      const { settings, log } = start(options.config, 'gateway')
      await serve({ config: settings, log, version, json: options.json === true, stop: stopSignal().signal })
    })
  program
    .command('egress')
    .description('run the egress proxy, the only process that can open credentials')
    .addOption(config)
    .option('--until-stdin-ends', 'stop when standard input ends, for a parent process')
    .action(async (options: { config?: string; untilStdinEnds?: boolean }) => {
      const { settings, log } = start(options.config, 'egress')
      await runEgress({
        config: settings,
        log,
        stop: stopSignal({ withStdin: options.untilStdinEnds === true }).signal,
      })
    })
  program
    .command('migrate')
    .description('bring the database up to this version')
    .addOption(config)
    .action(async (options: { config?: string }) => {
      const { settings, log } = start(options.config, 'migrate')
      process.stdout.write(await migrateDatabase(settings, log))
    })
  program
    .command('apply')
    .description('check the configuration and write its sources, toolkits and rules to the database')
    .addOption(config)
    .option('--check', 'only check; write nothing')
    .action(async (options: { config?: string; check?: boolean }) => {
      const { settings, log } = start(options.config, 'apply')
      process.stdout.write(
        options.check === true ? 'the configuration is valid\n' : await apply(settings, log),
      )
    })
  program
    .command('dev')
    .description('run everything on embedded defaults, with an emulated Slack and a demo API')
    .addOption(json)
    .addOption(
      new Option('--port <port>', 'port of the gateway; 0 picks a free one')
        .default(7400)
        .argParser(portNumber),
    )
    .option('--folder <folder>', 'where everything is kept', join('.toolcrib', 'dev'))
    .option('--reset', 'forget everything first')
    .action(async (options: { json?: boolean; port: number; folder: string; reset?: boolean }) => {
      const { runDev } = await import('./main-dev.ts')
      const stop = stopSignal({ withTerminal: true })
      await runDev({
        ...options,
        json: options.json === true,
        reset: options.reset === true,
        version,
        entry,
        stop: stop.signal,
        atOnce: stop.atOnce,
      })
    })

  return await runCli(argv, io, program)
}

function start(path: string | undefined, name: string): { settings: Config; log: Log } {
  const settings = readConfig(processEnvironment, path)
  return { settings, log: createLog({ level: settings.file.log_level, name }) }
}

function portNumber(text: string): number {
  const port = Number(text)
  if (/^\d+$/.test(text) && port <= 65_535) return port
  throw new InvalidArgumentError('Give a whole number from 0 to 65535.')
}

/** One Ctrl-C arrives twice under npm: from the terminal, and passed on by npm. Two of a person are further apart. */
const samePressMs = 500

/** What a second press may still take, before the process ends whatever is left. */
const atOnceMs = 5_000

interface Stop {
  /** Aborted by the first press. */
  readonly signal: AbortSignal
  /** Done by a second press, all together, before the process ends. */
  readonly atOnce: (() => unknown)[]
}

/**
 * The first SIGINT or SIGTERM, or the end of standard input or of the terminal, asks to stop; a second press ends
 * everything at once, a third one this process alone.
 */
function stopSignal(also: { withStdin?: boolean; withTerminal?: boolean } = {}): Stop {
  const stop = new AbortController()
  const atOnce: Stop['atOnce'] = []
  let presses = 0
  let pressedAt = Number.NEGATIVE_INFINITY
  const onSignal = (signal: NodeJS.Signals) => {
    if (performance.now() - pressedAt <= samePressMs) return
    pressedAt = performance.now()
    presses++
    stop.abort()
    const end = () => process.exit(signal === 'SIGINT' ? 130 : 143)
    if (presses > 2 || (presses === 2 && atOnce.length === 0)) end()
    if (presses !== 2) return
    setTimeout(end, atOnceMs)
    void Promise.allSettled(atOnce.map(async (each) => await each())).then(end)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  if (also.withTerminal === true) process.on('SIGHUP', () => stop.abort())
  if (also.withStdin === true) process.stdin.resume().once('end', () => stop.abort())
  return { signal: stop.signal, atOnce }
}
