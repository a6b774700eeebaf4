import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ProfileSummary, summariseProfile } from '../profile.ts'
import { loadAtStart, writeResults } from '../results.ts'
import { faults, tryAll } from './behaviour.ts'
import { prepare } from './contestants.ts'
import { startDriver, startUpstream } from './helpers.ts'
import { host } from './names.ts'
import type { Ours } from './ours.ts'
import { behaviourTable, summarise, table, targets } from './report.ts'
import { type Bench, runAll, sizes } from './run.ts'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The whole benchmark: tables on standard output, the figures in `bench/results/egress.json`. */
export async function benchEgress(options: { quick: boolean; only: string[]; out?: string }): Promise<void> {
  const size = options.quick ? sizes.quick : sizes.full
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const print = (text: string) => process.stdout.write(`${text}\n\n`)
  const load = loadAtStart(say)

  await using stack = new AsyncDisposableStack()
  const upstream = stack.use(await startUpstream())
  const driver = stack.use(startDriver())
  const { contestants, ours } = await prepare(stack, upstream)
  const chosen = contestants.filter(({ name }) => isChosen(name, options.only))
  const bench: Bench = { driver, ports: upstream.ports, size, say }
  const results = (await runAll(bench, chosen)).map(summarise)
  print(table(results, size.tunnels, size.mebibytes))
  print(targets(results))

  const behaviour: Record<string, Record<string, string>> = {}
  for (const { name, missing, start } of chosen) {
    if (missing !== undefined || name === 'direct') continue
    const running = await start()
    behaviour[name] = await tryAll(driver, upstream, running)
    await running.stop()
  }
  print(behaviourTable(behaviour))
  const profile = isChosen('Toolcrib', options.only) ? await profileOurs(bench, ours) : undefined
  if (profile !== undefined) {
    const costs = profile.hottest.slice(0, 15).map(({ name, microseconds }) => `${microseconds} ${name}`)
    print(`Toolcrib's profile, µs per request by function:\n${costs.join('\n')}`)
  }

  const figures = {
    versions: { node: process.version, toolcrib: version() },
    size,
    contestants: results,
    behaviour,
    toolcrib: { profile },
  }
  writeResults(
    options.out ?? here('../results/egress.json'),
    { name: 'egress', asked: options, load },
    figures,
  )

  const wrong = faults(behaviour['Toolcrib'] ?? {})
  if ('Toolcrib' in behaviour && wrong.length > 0)
    throw new Error(`Toolcrib got it wrong: ${wrong.join('; ')}`)
}

/** Where a request's time goes at 32 tunnels; a life of its own, because the profiler costs time too. */
async function profileOurs({ driver, ports, size }: Bench, ours: Ours): Promise<ProfileSummary> {
  const folder = mkdtempSync(join(tmpdir(), 'toolcrib-profile-'))
  try {
    const { stop, pid: _, ...way } = await ours.start(['--cpu-prof', '--cpu-prof-dir', folder])
    const target = { ...way, host: host.api, port: ports.fast }
    const { requests } = await driver.do('parallel', target, size.tunnels, size.seconds)
    await stop()
    return summariseProfile(folder, here('../../'), requests)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function isChosen(name: string, only: string[]): boolean {
  return only.length === 0 || only.some((part) => name.toLowerCase().includes(part.toLowerCase()))
}

function version(): string {
  return (JSON.parse(readFileSync(here('../../package.json'), 'utf8')) as { version: string }).version
}
