import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Config, processEnvironment, readConfig } from './config.ts'
import { createLog, type Log } from './core/index.ts'
import { stopSignal } from './main-stop.ts'

// What a command does is loaded when it runs: one that only speaks to a server needs none of it.
const withConfig = () =>
  new Option('-c, --config <file>', 'configuration file (else TOOLCRIB_CONFIG, else toolcrib.yaml)')
const withJson = () => new Option('--json', 'print one JSON line when ready, for scripts')

/** The commands that are a server: they run until they are told to stop. */
export function addServers(program: Command, version: string): void {
  program
    .command('serve')
    .description('run the gateway: MCP endpoint, Slack app, admin API, sandboxes')
    .addOption(withConfig())
    .addOption(withJson())
    .action(async (options: { config?: string; json?: boolean }) => {
      const { serve } = await import('./main-serve.ts')
      const { config, log } = start(options.config, 'gateway')
      await serve({ config, log, version, json: options.json === true, stop: stopSignal().signal })
    })
  const egress = program
    .command('egress')
    .description('run the egress proxy, the only process that can open credentials')
    .addOption(withConfig())
    .option('--until-stdin-ends', 'stop when standard input ends, for a parent process')
    // A word that is no command of its would be counted as too much, and not named.
    .allowExcessArguments()
    .action(async (options: { config?: string; untilStdinEnds?: boolean }, command: Command) => {
      const [unknown] = command.args
      const known = command.commands.map((each) => each.name()).join(' or ')
      if (unknown !== undefined) command.error(`error: unknown command '${unknown}'; use ${known}`)
      const { runEgress } = await import('./main-egress.ts')
      const { config, log } = start(options.config, 'egress', { withUpstreamCas: true })
      const { signal } = stopSignal({ withStdin: options.untilStdinEnds === true })
      await runEgress({ config, log, stop: signal })
    })
  egress
    .command('allow')
    .description('print the rule that would let a request of a source through, to add to the configuration')
    .argument('<source>', 'id of the source, as in the refusal')
    .argument('<method>', 'GET, POST, …, or WEBSOCKET')
    .argument('<url>', 'what was refused; the rule covers this path and what lies under it')
    .addOption(withConfig())
    .addHelpText(
      'after',
      '\nExample:\n  $ toolcrib egress allow orders GET https://api.example.com/v1/orders',
    )
    .action(async (source: string, method: string, url: string, _options: object, command: Command) => {
      const { allowEgress, configuration, devSample } = await import('./main-egress-rules.ts')
      const given = command.optsWithGlobals<{ config?: string }>()
      const { config, isDev } = await startOrDev(given.config, 'egress')
      const file = isDev ? devSample : configuration(given.config)
      process.stdout.write(allowEgress(config, file, { source, method, url }))
    })
  egress
    .command('suggest')
    .description('print rules for what a source asked for and none of its rules names')
    .argument('<source>', 'id of the source')
    .addOption(new Option('--days <days>', 'how far to look back').default(7).argParser(days))
    .addOption(withConfig())
    .addHelpText(
      'after',
      '\nGive the source `egress_warn_until`, use it, and look at what it asked for:\n  $ toolcrib egress suggest orders',
    )
    .action(async (source: string, _options: object, command: Command) => {
      const { configuration, devSample, suggestEgress } = await import('./main-egress-rules.ts')
      const given = command.optsWithGlobals<{ config?: string; days: number }>()
      const { config, log, isDev } = await startOrDev(given.config, 'egress')
      const file = isDev ? devSample : configuration(given.config)
      process.stdout.write(await suggestEgress(config, log, file, { source, days: given.days }))
    })
}

/** The commands that need the database and no server. */
export function addDatabaseCommands(program: Command): void {
  program
    .command('migrate')
    .description('bring the database up to this version')
    .addOption(withConfig())
    .action(async (options: { config?: string }) => {
      const { migrateDatabase } = await import('./main-database.ts')
      const { config, log } = start(options.config, 'migrate')
      process.stdout.write(await migrateDatabase(config, log))
    })
  program
    .command('apply')
    .description('check the configuration and write its sources, toolkits and rules to the database')
    .addOption(withConfig())
    .option('--check', 'only check; write nothing')
    .action(async (options: { config?: string; check?: boolean }) => {
      const { apply, checkConfig } = await import('./main-database.ts')
      const { config, log } = start(options.config, 'apply', { withUpstreamCas: true })
      process.stdout.write(options.check === true ? checkConfig(config) : await apply(config, log))
    })
  program
    .command('admin-key')
    .description('admin keys, for whoever has the database; the admin API is for whoever has a key')
    .command('new')
    .description('make an admin key in the database, when every other one is lost')
    .addOption(withConfig())
    .addOption(
      new Option('--name <name>', 'what lists of keys call it').default('recovered').argParser(keyName),
    )
    .addHelpText(
      'after',
      '\nIt speaks to no server: run it where DATABASE_URL, or the embedded database, is at hand.\n\nExample:\n  $ toolcrib admin-key new --name ops > admin-key',
    )
    .action(async (options: { config?: string; name: string }) => {
      const { newAdminKey } = await import('./main-database.ts')
      const { config, log } = start(options.config, 'admin-key')
      const { id, key } = await newAdminKey(config, log, options.name)
      process.stdout.write(`${key.reveal()}\n`)
      process.stderr.write(
        `Made ${id} (${options.name}); this is the only time that it is shown. Revoke those that are lost.\n`,
      )
    })
}

/** Keys of the egress proxy: for the user that it runs as, on a machine that has its key folder. */
export function addKeys(program: Command): void {
  const keys = program
    .command('keys')
    .description("the egress proxy's keys: list and change them while it serves")
  keys
    .command('list')
    .description('list sealing keys and CAs, what depends on each, and which proxies hold it')
    .addOption(withConfig())
    .option('--json', 'print it as JSON')
    .action(async (options: { config?: string; json?: boolean }) => {
      const { listKeys } = await import('./main-keys.ts')
      const { config, log } = await startOrDev(options.config, 'keys')
      const { json, text } = await listKeys(config, log)
      process.stdout.write(options.json === true ? `${JSON.stringify(json)}\n` : text)
    })
  keys
    .command('rotate')
    .description(
      'make a new key, seal every credential to it, retire the old one; again after an interruption',
    )
    .addOption(withConfig())
    .option('--ca', 'change the CA that sandboxes trust instead; run again until it says that it is done')
    .option('--lost', 'the old keys are gone for good: take what this folder has in their place')
    .addOption(
      new Option('--wait <seconds>', 'how long proxies have to take up the new key')
        .default(60)
        .argParser(seconds),
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  $ sudo -u toolcrib toolcrib keys rotate --config /etc/toolcrib/toolcrib.yaml',
    )
    .action(
      async (options: { config?: string; ca?: boolean; lost?: boolean; wait: number; json?: boolean }) => {
        const { rotateKeys } = await import('./main-keys.ts')
        const { config, log } = await startOrDev(options.config, 'keys')
        const { json, text } = await rotateKeys(config, log, {
          ca: options.ca === true,
          lost: options.lost === true,
          waitMs: options.wait * 1000,
          say: (step) => void process.stderr.write(`${step}\n`),
        })
        process.stdout.write(options.json === true ? `${JSON.stringify(json)}\n` : text)
      },
    )
}

/** `toolcrib dev`; `entry` starts the processes that it needs. */
export function addDev(program: Command, version: string, entry: string): void {
  program
    .command('dev')
    .description('run everything on embedded defaults, with an emulated Slack and a demo API')
    .addOption(withJson())
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
}

/** `start`, but where nobody has written a configuration yet, beside the one that `npm run dev` runs with. */
async function startOrDev(
  path: string | undefined,
  name: string,
): Promise<{ config: Config; log: Log; isDev: boolean }> {
  if (
    path === undefined &&
    processEnvironment.TOOLCRIB_CONFIG === undefined &&
    !existsSync('toolcrib.yaml')
  ) {
    const { besideDev } = await import('./main-dev-config.ts')
    const config = besideDev()
    if (config !== undefined)
      return { config, log: createLog({ level: config.file.log_level, name }), isDev: true }
  }
  return { ...start(path, name), isDev: false }
}

function start(
  path: string | undefined,
  name: string,
  parts: { withUpstreamCas?: boolean } = {},
): { config: Config; log: Log } {
  const config = readConfig(processEnvironment, path, parts)
  return { config, log: createLog({ level: config.file.log_level, name }) }
}

function portNumber(text: string): number {
  const port = Number(text)
  if (/^\d+$/.test(text) && port <= 65_535) return port
  throw new InvalidArgumentError('Give a whole number from 0 to 65535.')
}

function seconds(text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Give a whole number of seconds.')
}

function days(text: string): number {
  if (/^[1-9]\d{0,2}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Give a whole number of days, 1 to 999.')
}

function keyName(text: string): string {
  const name = text.trim()
  if (name.length >= 1 && name.length <= 60) return name
  throw new InvalidArgumentError('Give 1 to 60 characters.')
}
