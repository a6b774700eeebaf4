import type { Inside } from './inside.ts'
import type { Measured } from './run.ts'
import type { TokenCheck } from './token-check.ts'

/** Median, and the smallest and largest of the rounds. */
export interface Spread {
  median: number
  least: number
  most: number
}

export function spread(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number) => sorted[index] ?? Number.NaN
  return { median: at(Math.floor((sorted.length - 1) / 2)), least: at(0), most: at(sorted.length - 1) }
}

/** The medians of what was measured for one contestant. */
export function summarise({ name, missing, oneClient, manyClients, newSession, memory }: Measured) {
  if (missing !== undefined) return { name, missing }
  return {
    name,
    oneClientMs: { p50: spread(oneClient.map((l) => l.p50)), p99: spread(oneClient.map((l) => l.p99)) },
    manyClients: {
      perSecond: spread(manyClients.map((l) => l.perSecond)),
      p50Ms: spread(manyClients.map((l) => l.p50)),
      p99Ms: spread(manyClients.map((l) => l.p99)),
    },
    newSessionMs: { p50: spread(newSession.map((l) => l.p50)), p99: spread(newSession.map((l) => l.p99)) },
    memoryMiB: memory,
  }
}

export function table(results: Measured[], clients: number, wanted: number): string {
  const head = [
    'contestant',
    '1 client p50 ms',
    'p99 ms',
    `${clients} clients calls/s`,
    'p50 ms',
    'p99 ms',
    'new session p50 ms',
    'memory MiB: start → calls → sessions',
  ]
  const rows = results.map((result) => {
    if (result.missing !== undefined) return [result.name, `left out: ${result.missing}`]
    const { oneClient, manyClients, newSession, memory } = result
    const range = (values: number[], digits: number) => {
      const { median, least, most } = spread(values)
      return `${median.toFixed(digits)} (${least.toFixed(digits)}–${most.toFixed(digits)})`
    }
    const line = (of: { start: number; afterCalls: number; afterSessions: number }) =>
      [of.start, of.afterCalls, of.afterSessions].map((value) => value.toFixed(0)).join(' → ')
    const notAll =
      memory !== undefined && memory.sessions < wanted
        ? ` (${memory.sessions} sessions, refused or capped after)`
        : ''
    return [
      result.name,
      range(
        oneClient.map((l) => l.p50),
        2,
      ),
      range(
        oneClient.map((l) => l.p99),
        2,
      ),
      range(
        manyClients.map((l) => l.perSecond),
        0,
      ),
      range(
        manyClients.map((l) => l.p50),
        1,
      ),
      range(
        manyClients.map((l) => l.p99),
        1,
      ),
      range(
        newSession.map((l) => l.p50),
        1,
      ),
      memory === undefined
        ? '–'
        : `${line(memory.tree)}${memory.gateway === undefined ? '' : `, gateway alone ${line(memory.gateway)}`}${notAll}`,
    ]
  })
  const cells = [head, head.map(() => '---'), ...rows]
  return cells.map((row) => `| ${row.join(' | ')} |`).join('\n')
}

/** What only concerns Toolcrib. */
export function insideReport(inside: Inside, token: TokenCheck): string {
  const parts = Object.entries(inside.cpuPerCall).map(([part, us]) => `${part} ${us}`)
  const { median, least, most } = spread(inside.firstCallMs)
  const areas = inside.gatewayProfile.byArea.slice(0, 12).map((a) => `${a.area} ${a.microseconds}`)
  return [
    `queries per call: ${inside.queriesPerCall.toFixed(2)}`,
    `first call without a sandbox: ${median.toFixed(0)} ms (${least.toFixed(0)}–${most.toFixed(0)})`,
    `known token: ${token.cpuMicroseconds.toFixed(0)} µs CPU, ${token.cpuWithoutQueryMicroseconds.toFixed(0)} µs beyond its query; first time ${token.firstMs.toFixed(0)} ms`,
    `CPU µs per call by process (profiler on): ${parts.join(', ')}`,
    `gateway profile, µs per call: ${areas.join(', ')}`,
  ].join('\n')
}
