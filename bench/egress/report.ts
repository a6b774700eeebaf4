import { type Spread, spread } from '../calls/report.ts'
import { cases } from './behaviour.ts'
import type { Measured } from './run.ts'

/** The medians of what was measured for one contestant. */
export function summarise(result: Measured) {
  const { name, missing, sequential, parallel, newTunnel, sse, ndjson, transfers, idleTunnel } = result
  if (missing !== undefined) return { name, missing }
  return {
    name,
    sequentialMs: { p50: spread(sequential.map((l) => l.p50)), p99: spread(sequential.map((l) => l.p99)) },
    parallel: {
      perSecond: spread(parallel.map((l) => l.perSecond)),
      p50Ms: spread(parallel.map((l) => l.p50)),
      p99Ms: spread(parallel.map((l) => l.p99)),
      cpuMicroseconds: spread(parallel.map((l) => l.cpuMicroseconds)),
    },
    newTunnelMs: spread(newTunnel.map((l) => l.p50)),
    newHostMs: spread(result.newHost.map((l) => l.p50)),
    firstHostMs: spread(result.firstHost.map((l) => l.p50)),
    firstEventMs: { sse: spread(sse.map((l) => l.p50)), ndjson: spread(ndjson.map((l) => l.p50)) },
    transfers,
    idleTunnel,
  }
}
export type Summary = ReturnType<typeof summarise>

const range = ({ median, least, most }: Spread, digits: number) =>
  `${median.toFixed(digits)} (${least.toFixed(digits)}–${most.toFixed(digits)})`
const whole = (value: number | undefined) => (value === undefined ? '–' : value.toFixed(0))

export function table(results: Summary[], tunnels: number, mebibytes: number): string {
  const heads = [
    ['contestant', 'one tunnel p50 ms', 'p99 ms', `${tunnels} tunnels req/s`, 'p99 ms', 'CPU µs/req'],
    ['new tunnel p50 ms', 'new host p50 ms', 'just started', 'SSE / NDJSON first event ms'],
    [`${mebibytes} MiB down / up s`, 'peak MiB down / up', 'idle tunnel KiB'],
  ].flat()
  const rows = results.map((one) => {
    if (one.missing !== undefined) return [one.name, `left out: ${one.missing}`]
    const { sequentialMs, parallel, newTunnelMs, newHostMs, firstHostMs } = one
    const { firstEventMs, transfers, idleTunnel } = one
    const seconds = (ms = Number.NaN) => (ms / 1_000).toFixed(1)
    return [
      one.name,
      range(sequentialMs.p50, 2),
      range(sequentialMs.p99, 2),
      range(parallel.perSecond, 0),
      range(parallel.p99Ms, 1),
      one.name === 'direct' ? '–' : range(parallel.cpuMicroseconds, 0),
      range(newTunnelMs, 2),
      range(newHostMs, 2),
      range(firstHostMs, 1),
      `${firstEventMs.sse.median.toFixed(1)} / ${firstEventMs.ndjson.median.toFixed(1)}`,
      `${seconds(transfers?.down.ms)} / ${seconds(transfers?.up.ms)}`,
      `${whole(transfers?.down.peak)} / ${whole(transfers?.up.peak)}`,
      whole(idleTunnel),
    ]
  })
  return lines([heads, heads.map(() => '---'), ...rows])
}

/** What each lets through; columns are contestants. */
export function behaviourTable(found: Record<string, Record<string, string>>): string {
  const names = Object.keys(found)
  const rows = cases.map(({ title }) => [title, ...names.map((name) => found[name]?.[title] ?? '–')])
  return lines([['case', ...names], ['---', ...names.map(() => '---')], ...rows])
}

/** The targets of the design, each with what this run reached. */
export function targets(all: Summary[]): string {
  const of = (part: string) => all.find(({ name }) => name.includes(part))
  const [ours, floor, direct] = [of('Toolcrib'), of('floor'), of('direct')]
  if (ours?.missing !== undefined || floor?.missing !== undefined) return ''
  if (ours?.parallel === undefined || floor?.parallel === undefined) return ''
  const times = (a: Spread, b: Spread | undefined) =>
    b === undefined ? '–' : `${(a.median / b.median).toFixed(2)} ×`
  const { perSecond } = ours.parallel
  const first = ours.firstEventMs
  const rows = [
    ['32 tunnels', '≥ 0.75 × floor', times(perSecond, floor.parallel.perSecond)],
    ['', '≥ 8 × mitmproxy', times(perSecond, of('mitmproxy')?.parallel?.perSecond)],
    ['', '≥ 5 × mockttp', times(perSecond, of('mockttp')?.parallel?.perSecond)],
    ['one tunnel, p50', '≤ 1.3 × floor', times(ours.sequentialMs.p50, floor.sequentialMs.p50)],
    ['one tunnel, p99', '≤ 1 ms', `${ours.sequentialMs.p99.median.toFixed(2)} ms`],
    ['a new tunnel', '≤ 1.3 × floor', times(ours.newTunnelMs, floor.newTunnelMs)],
    ['first request to a new host', '≤ 5 ms', `${ours.newHostMs.median.toFixed(2)} ms`],
    [
      '300 MiB, peak',
      '≤ 100 MiB',
      `${whole(ours.transfers?.down.peak)} down, ${whole(ours.transfers?.up.peak)} up`,
    ],
    [
      'first event beyond the floor',
      '≤ 1 ms',
      `${(first.sse.median - floor.firstEventMs.sse.median).toFixed(2)} SSE, ${(first.ndjson.median - floor.firstEventMs.ndjson.median).toFixed(2)} NDJSON`,
    ],
    ['an idle tunnel', '≤ 80 KiB', `${whole(ours.idleTunnel)} KiB`],
    [
      'the driver without a proxy',
      'far above all',
      times(direct?.parallel?.perSecond ?? perSecond, floor.parallel.perSecond),
    ],
  ]
  return lines([['what', 'to reach', 'reached'], ['---', '---', '---'], ...rows])
}

function lines(rows: string[][]): string {
  return rows.map((row) => `| ${row.join(' | ')} |`).join('\n')
}
