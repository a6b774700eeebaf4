import type { AuditEvent, Log } from '../../core/index.ts'

export type AllowedEvent = Extract<AuditEvent, { kind: 'egress.allowed' | 'egress.would_deny' }>
export type DeniedEvent = Extract<AuditEvent, { kind: 'egress.denied' }>

/** One message for every decision, so that a search finds them all. */
const message = 'egress decision'

/** A request that was let out and has ended: its event, that event's data as JSON text, and how long it took. */
export interface Ended {
  event: AllowedEvent
  data: string
  durationMs: number
}

/** Writes a line at `info` for each, with what its audit event says. */
export function logEnded(log: Log, ended: readonly Ended[]): void {
  log.lines(
    ended.map(({ event, data, durationMs }) => {
      const decision = event.kind === 'egress.allowed' ? 'allowed' : 'would_deny'
      const principalId = JSON.stringify(event.principalId ?? null)
      return `"decision":"${decision}","principalId":${principalId},"durationMs":${Math.round(durationMs)},${data.slice(1, -1)}`
    }),
    message,
  )
}

/** The same at `warn` for a refusal that is recorded; of a flood those between are `suppressed`. */
export function logRefusal(log: Log, event: DeniedEvent): void {
  if (!log.isLevelEnabled('warn')) return
  const { principalId, data } = event
  log.warn({ decision: 'denied', principalId: principalId ?? null, ...data }, message)
}
