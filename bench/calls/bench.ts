import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { lookInside } from './inside.ts'
import { insideReport, summarise, table } from './report.ts'
import { runAll, sizes } from './run.ts'
import { measureTokenCheck } from './token-check.ts'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const version = (path: string) =>
  (JSON.parse(readFileSync(here(path), 'utf8')) as { version: string }).version

/** The whole benchmark: tables on standard output, the figures in `bench/results/calls.json`. */
export async function benchCalls(options: { quick: boolean; only: string[]; out?: string }): Promise<void> {
  const size = options.quick ? sizes.quick : sizes.full
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const load = loadavg()[0]?.toFixed(1)
  if (Number(load) > 1) say(`load average is ${load}: figures of a busy machine say little`)
  const results = await runAll(size, options.only, say)
  process.stdout.write(`${table(results, size.clients, size.sessionsLeft)}\n\n`)
  const withToolcrib = results.some(({ name }) => name === 'Toolcrib')
  const inside = withToolcrib
    ? await lookInside(here('echo-source.ts'), options.quick ? 4_000 : 20_000)
    : undefined
  const token = withToolcrib ? await measureTokenCheck(20_000) : undefined
  if (inside !== undefined && token !== undefined) process.stdout.write(`${insideReport(inside, token)}\n`)
  const report = {
    command: `npm run bench -- calls${options.quick ? ' --quick' : ''}${options.only.map((name) => ` --only ${name}`).join('')}`,
    at: new Date().toISOString(),
    machine: {
      cpus: cpus().length,
      model: cpus()[0]?.model,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      kernel: release(),
      loadAverageAtStart: load,
    },
    versions: {
      node: process.version,
      toolcrib: version('../../package.json'),
      '@modelcontextprotocol/server': version('../../node_modules/@modelcontextprotocol/server/package.json'),
    },
    size,
    contestants: results.map(summarise),
    toolcrib: { inside, token },
  }
  const out = options.out ?? here('../results/calls.json')
  mkdirSync(dirname(out), { recursive: true })
  writeFileSync(out, `${JSON.stringify(report, rounded, 2)}\n`)
}

function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 1_000) / 1_000 : value
}
