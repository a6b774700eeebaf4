import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { AuditEvent, EgressOutcome } from '../../core/index.ts'

/**
 * What a proxy counts of itself. Labels are sources of the configuration and reasons of
 * docs/reference/egress-denials.md, nothing that a request could choose; a stranger's claimed source is not told.
 */
export interface Metrics {
  allowed(event: Extract<AuditEvent, { kind: 'egress.allowed' | 'egress.would_deny' }>): void
  finished(sourceId: string, outcome: EgressOutcome): void
  /** Every refusal, recorded or only counted; `sourceId` is undefined where nobody shows a good lease. */
  denied(sourceId: string | undefined, reason: string): void
  /** From the decision to the head of the upstream's answer. */
  answered(seconds: number): void
  /** A number that is read when somebody asks. */
  gauge(name: string, help: string, read: () => number): void
  /** All of it in Prometheus' text format. */
  text(): Promise<string>
}

/** Sums by labels. */
interface Tally {
  add(key: string, by: number): void
  hand(): void
}

/** Between labels; no source and no reason has one in it. */
const separator = ' '
const labels = (...values: string[]) => values.join(separator)

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  // prom-client sorts and hashes labels for every number; here they are added up, and handed to it when somebody asks.
  const tally = (add: (labels: string[], sum: number) => void): Tally => {
    const sums = new Map<string, number>()
    return {
      add: (key, by) => void sums.set(key, (sums.get(key) ?? 0) + by),
      hand() {
        for (const [key, sum] of sums) add(key.split(separator), sum)
        sums.clear()
      },
    }
  }
  const prefix = 'toolcrib_egress_'
  collectDefaultMetrics({ register: registry, prefix })
  const requests = new Counter({
    name: `${prefix}requests_total`,
    help: 'Requests decided, by what was decided.',
    labelNames: ['source', 'decision', 'reason'] as const,
    registers,
    collect: () => decided.hand(),
  })
  const decided = tally(([source = '', decision = '', reason = ''], sum) =>
    requests.inc({ source, decision, reason }, sum),
  )
  const failures = new Counter({
    name: `${prefix}failures_total`,
    help: 'Requests let out that ended without a whole answer, by reason.',
    labelNames: ['source', 'reason'] as const,
    registers,
  })
  const bytes = new Counter({
    name: `${prefix}body_bytes_total`,
    help: 'Bytes of bodies, sent to the world and received from it.',
    labelNames: ['source', 'direction'] as const,
    registers,
    collect: () => passed.hand(),
  })
  const passed = tally(([source = '', direction = ''], sum) => bytes.inc({ source, direction }, sum))
  const redactions = new Counter({
    name: `${prefix}redactions_total`,
    help: 'Copies of credentials masked in answers.',
    labelNames: ['source'] as const,
    registers,
  })
  const frames = new Counter({
    name: `${prefix}websocket_frames_total`,
    help: 'Frames of WebSockets that have ended, sent to the world and received from it.',
    labelNames: ['source', 'direction'] as const,
    registers,
  })
  const answer = new Histogram({
    name: `${prefix}answer_seconds`,
    help: 'From the decision to the head of the upstream’s answer.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
    registers,
  })
  return {
    allowed({ kind, data }) {
      const decision = kind === 'egress.allowed' ? 'allowed' : 'would_deny'
      const reason = kind === 'egress.allowed' ? '' : data.reason
      decided.add(labels(data.sourceId, decision, reason), 1)
    },
    finished(source, outcome) {
      passed.add(labels(source, 'received'), outcome.bytesIn)
      passed.add(labels(source, 'sent'), outcome.bytesOut)
      if (outcome.redactions > 0) redactions.inc({ source }, outcome.redactions)
      if (outcome.frames !== undefined) {
        frames.inc({ source, direction: 'received' }, outcome.frames.received)
        frames.inc({ source, direction: 'sent' }, outcome.frames.sent)
      }
      if (outcome.failure !== null) failures.inc({ source, reason: outcome.failure })
    },
    denied(source = '', reason) {
      decided.add(labels(source, 'denied', reason), 1)
    },
    answered: (seconds) => answer.observe(seconds),
    gauge(name, help, read) {
      const gauge: Gauge = new Gauge({
        name: `${prefix}${name}`,
        help,
        registers,
        collect() {
          gauge.set(read())
        },
      })
    },
    text: () => registry.metrics(),
  }
}
