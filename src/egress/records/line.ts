import type { AuditEvent, CallId, EgressOutcome, Log } from '../../core/index.ts'

type Allowed = Extract<AuditEvent, { kind: 'egress.allowed' | 'egress.would_deny' }>
type Denied = Extract<AuditEvent, { kind: 'egress.denied' }>

/** One message for every decision, so that a search finds them all. */
const message = 'egress decision'

/** The line of a request that was let out; it is written when both have been said, each once. */
export interface OpenLine {
  calls(callIds: readonly CallId[]): void
  finish(outcome: EgressOutcome): void
}

const none: OpenLine = { calls: () => undefined, finish: () => undefined }

/**
 * Writes one line at `info` for a request that was let out, when it has ended and its calls are known, with what its
 * audit event says and how long it took. While that level is off it costs nothing.
 */
export function openLine(log: Log, event: Allowed): OpenLine {
  if (!log.isLevelEnabled('info')) return none
  const began = performance.now()
  let joined: readonly CallId[] | undefined
  let ended: { outcome: EgressOutcome; durationMs: number } | undefined
  const write = () => {
    if (joined === undefined || ended === undefined) return
    const { data } = event
    const decided =
      event.kind === 'egress.allowed'
        ? { decision: 'allowed', reason: null, ...(event.data.stubbed === true ? { stubbed: true } : {}) }
        : { decision: 'would_deny', reason: event.data.reason }
    const { outcome, durationMs } = ended
    log.info(
      {
        ...decided,
        ...asked(event),
        addressClass: data.addressClass,
        credentials: data.credentials,
        callIds: joined,
        ...outcome,
        durationMs,
      },
      message,
    )
  }
  return {
    calls(callIds) {
      joined = callIds
      write()
    },
    finish(outcome) {
      ended = { outcome, durationMs: Math.round(performance.now() - began) }
      write()
    },
  }
}

/** The same at `warn` for a refusal that is recorded; of a flood those between are `suppressed`. */
export function logRefusal(log: Log, event: Denied): void {
  if (!log.isLevelEnabled('warn')) return
  const { reason, suppressed, callIds } = event.data
  log.warn(
    {
      decision: 'denied',
      reason,
      ...asked(event),
      callIds,
      ...(suppressed === undefined ? {} : { suppressed }),
    },
    message,
  )
}

function asked({ principalId, data }: Allowed | Denied): object {
  return {
    requestId: data.requestId,
    principalId: principalId ?? null,
    sourceId: data.sourceId,
    runnerId: data.runnerId,
    generation: data.generation,
    scheme: data.scheme,
    host: data.host,
    port: data.port,
    method: data.method,
    path: data.path,
    rule: data.rule,
  }
}
