import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadAtStart, writeResults } from '../results.ts'
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
  const load = loadAtStart(say)
  const results = await runAll(size, options.only, say)
  process.stdout.write(`${table(results, size.clients, size.sessionsLeft)}\n\n`)
  const withToolcrib = results.some(({ name }) => name === 'Toolcrib')
  const inside = withToolcrib
    ? await lookInside(here('echo-source.ts'), options.quick ? 4_000 : 20_000)
    : undefined
  const token = withToolcrib ? await measureTokenCheck(20_000) : undefined
  if (inside !== undefined && token !== undefined) process.stdout.write(`${insideReport(inside, token)}\n`)
  const figures = {
    versions: {
      node: process.version,
      toolcrib: version('../../package.json'),
      '@modelcontextprotocol/server': version('../../node_modules/@modelcontextprotocol/server/package.json'),
    },
    size,
    contestants: results.map(summarise),
    toolcrib: { inside, token },
  }
  writeResults(options.out ?? here('../results/calls.json'), { name: 'calls', asked: options, load }, figures)
}
