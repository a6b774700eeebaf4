import { LRUCache } from 'lru-cache'
import type { AuditEvent, CallId } from '../../core/index.ts'
import { newId } from '../../core/index.ts'
import { createMeter } from '../bounds/limits.ts'
import {
  type Denial,
  type DenialReason,
  denialBody,
  denialSentence,
  denialStatus,
  printable,
} from '../decision/denial.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { Identity, Leases } from '../leases/leases.ts'
import type { Metrics } from '../records/metrics.ts'
import type { Recorder } from '../records/record.ts'
import { bracketed, formatAuthority } from '../request/host.ts'

/** What was asked for, made safe to show and to store; canonical where the request was understood. */
export interface Asked {
  scheme: string
  host: string
  port: number
  method: string
  path: string
}

/**
 * A refused request's own words, cut and made printable: it may be anything. What of it may be secret is left out:
 * user information, the query, the fragment.
 */
export function askedRaw(
  said: Pick<Inbound, 'method' | 'target' | 'claimedHost'>,
  scheme: 'http' | 'https',
): Asked {
  const connect = said.method === 'CONNECT'
  const host = untilQuery(afterUser(connect ? said.target : said.claimedHost))
  return {
    scheme,
    host: printable(host, connect ? 1_000 : 255),
    port: 0,
    method: printable(said.method, 20),
    path: connect ? '' : printable(untilQuery(withoutUser(said.target)), 1_000),
  }
}

const untilQuery = (text: string) => text.split(/[?#]/, 1)[0] ?? ''
const afterUser = (authority: string) => authority.slice(authority.lastIndexOf('@') + 1)

/** The target without user information; a path that begins with one slash has none, and an "@" in it is its own. */
function withoutUser(target: string): string {
  if (/^\/(?![/\\])/.test(target)) return target
  const [start = ''] = /^(?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2,}/.exec(target) ?? ['']
  const rest = target.slice(start.length)
  const [authority = ''] = /^[^/?#\\]*/.exec(rest) ?? ['']
  // What is no host and port may be the beginning of a password that was written with a "/" or "?" in it.
  const isPlain = /^(?:\[[^[\]@]*\]|[^:[\]@]*)(?::[0-9]+)?$/.test(authority)
  return start + (isPlain ? rest : afterUser(rest))
}

/** The event's facts that do not depend on how it went. */
export function factsOf(
  identity: Identity,
  asked: Asked,
  rule: string,
): Omit<Extract<AuditEvent, { kind: 'egress.denied' }>['data'], 'reason' | 'suppressed'> {
  return {
    requestId: newId('egr'),
    sourceId: identity.sourceId,
    runnerId: identity.runnerId,
    generation: identity.generation,
    scheme: asked.scheme,
    host: asked.host,
    port: asked.port,
    method: asked.method,
    path: asked.path.slice(0, 2_000),
    rule,
    callIds: [],
  }
}

/** A notice has room for so many ids; more calls of one source at once are rare. */
const mostCallsTold = 16

export interface Denier {
  /**
   * Records a refusal, joined to the calls running at this moment, and says what to answer. Of one person at most
   * 300 a minute are recorded, the rest counted: a flood must neither fill the record nor delay that of others.
   */
  deny(
    identity: Identity,
    asked: Asked,
    reason: DenialReason,
    rule: string,
    retryAfterSeconds?: number,
  ): Denial
  /** The same for whoever shows no good lease; recorded at most 30 times a minute, the rest counted. */
  denyStranger(asked: Asked, claimedSource: string): Denial
  /**
   * What is only counted: nobody can be told from it to record it of, or there is no database to record it in.
   * `source` is whose tunnel it was, where that is known.
   */
  denyUnrecorded(reason: keyof typeof unrecorded, source?: string): Denial
}

/** Each with what decided. */
const unrecorded = {
  head_timeout: 'request',
  leases_unavailable: 'lease',
  parse_error: 'request',
  proxy_failed: 'proxy',
} as const

export function createDenier(options: {
  leases: Leases
  recorder: Recorder
  metrics: Metrics
  /** Says to whoever runs these calls what was refused, so that their results can. */
  tell: (callIds: CallId[], sentence: string) => void
}): Denier {
  // A program that tries again and again is told once.
  const told = new LRUCache<string, true>({ max: 1_000, ttl: 10_000 })
  const tellOnce = (callIds: CallId[], sentence: string) => {
    const few = callIds.slice(0, mostCallsTold)
    const key = [...few, sentence].join(' ')
    if (few.length === 0 || told.has(key)) return
    told.set(key, true)
    options.tell(few, sentence)
  }
  const strangers = createMeter(30)
  const people = new LRUCache<string, ReturnType<typeof createMeter>>({ max: 10_000 })
  const meterOf = (principalId: string) => {
    const meter = people.get(principalId) ?? createMeter(300)
    people.set(principalId, meter)
    return meter
  }
  const place = (asked: Asked) => (asked.port === 0 ? asked.host : `${bracketed(asked.host)}:${asked.port}`)
  return {
    deny(identity, asked, reason, rule, retryAfterSeconds) {
      options.metrics.denied(identity.sourceId, reason)
      const { principalId } = identity
      const denial: Denial = {
        status: denialStatus(reason),
        reason,
        rule,
        host: place(asked),
        source: identity.sourceId,
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      }
      const suppressed = meterOf(principalId).pass()
      if (suppressed === undefined) return denial
      const counted = suppressed === 0 ? {} : { suppressed }
      const data = { ...factsOf(identity, asked, rule), reason, ...counted }
      options.leases
        .look(identity.secretSha256)
        .then(
          (facts) => facts?.callIds ?? [],
          () => [],
        )
        .then((callIds) => {
          tellOnce(callIds, denialSentence(denial, toldAs(asked)))
          const [only] = callIds
          const joined = callIds.length === 1 && only !== undefined ? { callId: only } : {}
          options.recorder.denied({
            kind: 'egress.denied',
            principalId,
            ...joined,
            data: { ...data, callIds },
          })
        })
        .catch(() => undefined)
      return denial
    },
    denyStranger(asked, claimedSource) {
      options.metrics.denied(undefined, 'lease_invalid')
      const source = printable(claimedSource, 40)
      const suppressed = strangers.pass()
      if (suppressed !== undefined) {
        options.recorder.denied({
          kind: 'egress.denied',
          data: {
            ...factsOf({ ...nobody, sourceId: source }, asked, 'lease'),
            runnerId: null,
            generation: null,
            reason: 'lease_invalid',
            suppressed,
          },
        })
      }
      return { status: 407, reason: 'lease_invalid', rule: 'lease', host: place(asked), source }
    },
    denyUnrecorded(reason, source) {
      options.metrics.denied(source, reason)
      const rule = unrecorded[reason]
      return { status: denialStatus(reason), reason, rule, host: '', source: source ?? '' }
    },
  }
}

const nobody = { runnerId: '', generation: 0 } as Identity

/**
 * Answers a refusal. A body that was not read closes the connection, for it may be endless; so does `last`, for
 * whom a connection is not worth keeping.
 */
export function answerDenial(inbound: Inbound, denial: Denial, asked: Asked, last = false): void {
  const { answer } = inbound
  if (answer.begun() || answer.gone()) {
    answer.abort()
    return
  }
  const body = denialBody(denial, toldAs(asked))
  const headers = [
    ...Object.entries(denialHeaders(denial)).flat(),
    'content-length',
    String(Buffer.byteLength(body)),
  ]
  // Nor does a stranger keep a connection that others may need.
  if (last || !inbound.complete() || denial.status === 407) headers.push('connection', 'close')
  answer.head(denial.status, headers)
  if (inbound.method !== 'HEAD') answer.sink.write(body)
  answer.end([])
}

/** The same to a CONNECT, whose socket is ours to write to; it is closed after. */
export function connectDenial(denial: Denial, asked: Asked): string {
  const body = denialBody(denial, toldAs(asked))
  const headers = { ...denialHeaders(denial), connection: 'close', 'content-length': Buffer.byteLength(body) }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${denial.status} ${denial.reason}\r\n${lines.join('')}\r\n${body}`
}

function denialHeaders(denial: Denial): Record<string, string> {
  return {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'x-toolcrib-denied': denial.reason,
    ...(denial.status === 407 ? { 'proxy-authenticate': 'Basic realm="toolcrib"' } : {}),
    ...(denial.status === 429 || denial.status === 503
      ? { 'retry-after': String(denial.retryAfterSeconds ?? 1) }
      : {}),
  }
}

/** Method and address in the spelling that people know; at most so long. */
function toldAs({ scheme, host, port, method, path }: Asked): { method: string; url: string } {
  const authority = port === 0 ? host : formatAuthority(scheme === 'https' ? 'https' : 'http', host, port)
  return { method, url: `${scheme}://${authority}${path}`.slice(0, 500) }
}
