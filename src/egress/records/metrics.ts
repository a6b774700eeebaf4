import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { EgressOutcome } from '../../core/index.ts'
import type { AllowedEvent } from './line.ts'

/**
 * What a proxy counts of itself. Labels are sources of the configuration and reasons of
 * docs/reference/egress-denials.md, nothing that a request could choose; a stranger's claimed source is not told.
 */
export interface Metrics {
  allowed(event: AllowedEvent): void
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

/** Between labels; no source and no reason has one in it. */
const separator = ' '

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const prefix = 'toolcrib_egress_'
  collectDefaultMetrics({ register: registry, prefix })
  // prom-client sorts and hashes labels for every number; here they are added up, and handed to it when somebody asks.
  const requests = new Counter({
    name: `${prefix}requests_total`,
    help: 'Requests decided, by what was decided.',
    labelNames: ['source', 'decision', 'reason'] as const,
    registers,
    collect() {
      for (const [key, sum] of decided) {
        const [source = '', decision = '', reason = ''] = key.split(separator)
        requests.inc({ source, decision, reason }, sum)
      }
      decided.clear()
    },
  })
  const decided = new Map<string, number>()
  const decide = (...labels: [source: string, decision: string, reason: string]) => {
    const key = labels.join(separator)
    decided.set(key, (decided.get(key) ?? 0) + 1)
  }
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
    collect() {
      for (const [source, { received, sent }] of passed) {
        bytes.inc({ source, direction: 'received' }, received)
        bytes.inc({ source, direction: 'sent' }, sent)
      }
      passed.clear()
    },
  })
  const passed = new Map<string, { received: number; sent: number }>()
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
      decide(data.sourceId, decision, reason)
    },
    finished(source, outcome) {
      const both = passed.get(source) ?? { received: 0, sent: 0 }
      passed.set(source, both)
      both.received += outcome.bytesIn
      both.sent += outcome.bytesOut
      if (outcome.redactions > 0) redactions.inc({ source }, outcome.redactions)
      if (outcome.frames !== undefined) {
        frames.inc({ source, direction: 'received' }, outcome.frames.received)
        frames.inc({ source, direction: 'sent' }, outcome.frames.sent)
      }
      if (outcome.failure !== null) failures.inc({ source, reason: outcome.failure })
    },
    denied(source = '', reason) {
      decide(source, 'denied', reason)
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
