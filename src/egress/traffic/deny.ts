import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { CallId, Log } from '../../core/index.ts'
import { createMeter } from '../bounds/limits.ts'
import {
  type Denial,
  type DenialReason,
  denialSentence,
  denialStatus,
  printable,
} from '../decision/denial.ts'
import type { Identity, Leases } from '../leases/leases.ts'
import type { Metrics } from '../records/metrics.ts'
import type { Recorder } from '../records/record.ts'
import { type Asked, factsOf, placeOf, toldAs } from './asked.ts'

/** A notice has room for so many ids; more calls of one source at once are rare. */
const mostCallsTold = 16

/** How long a refused program waits at most until its calls were told. */
const tellMs = 1_000

/** A refusal to answer with, once `told`: then a result that the refusal leads to finds its sentence waiting. */
export interface Refusal extends Denial {
  /** Settles when whoever runs these calls can read of it, or when that takes too long; never rejects. */
  told: Promise<void>
}

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
  ): Refusal
  /** The same for whoever shows a lease that is not good; recorded at most 30 times a minute, the rest counted. */
  denyStranger(asked: Asked, claimedSource: string): Denial
  /**
   * What is only counted: nobody can be told from it to record it of, or there is no database to record it in.
   * `source` is whose tunnel it was, where that is known.
   */
  denyUnrecorded(reason: keyof typeof unrecorded, source?: string): Denial
  /** Records what was refused before, after `graceMs` without the calls that it would be joined to. */
  close(graceMs: number): Promise<void>
}

/** Each with what decided. */
const unrecorded = {
  head_timeout: 'request',
  lease_missing: 'lease',
  leases_unavailable: 'lease',
  parse_error: 'request',
  proxy_failed: 'proxy',
} as const

export function createDenier(options: {
  leases: Leases
  recorder: Recorder
  metrics: Metrics
  /**
   * Says to whoever runs these calls what was refused, so that their results can; settles when they can read it, and
   * never rejects.
   */
  tell: (callIds: CallId[], sentence: string) => Promise<void>
  log: Log
}): Denier {
  // A program that tries again and again is told once.
  const told = new LRUCache<string, Promise<void>>({ max: 1_000, ttl: 10_000 })
  const tellOnce = async (callIds: CallId[], sentence: string): Promise<void> => {
    const few = callIds.slice(0, mostCallsTold)
    if (few.length === 0) return
    const key = [...few, sentence].join(' ')
    const telling = told.get(key) ?? options.tell(few, sentence)
    told.set(key, telling, { noUpdateTTL: true })
    await telling
  }
  const strangers = createMeter(30)
  const people = new LRUCache<string, ReturnType<typeof createMeter>>({ max: 10_000 })
  const meterOf = (principalId: string) => {
    const meter = people.get(principalId) ?? createMeter(300)
    people.set(principalId, meter)
    return meter
  }
  /** Refusals whose calls are being looked for. */
  const underWay = new Set<(callIds: CallId[]) => Promise<void>>()
  return {
    deny(identity, asked, reason, rule, retryAfterSeconds) {
      options.metrics.denied(identity.sourceId, reason)
      const { principalId } = identity
      const denial: Denial = {
        status: denialStatus(reason),
        reason,
        rule,
        host: placeOf(asked),
        source: identity.sourceId,
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      }
      const suppressed = meterOf(principalId).pass()
      if (suppressed === undefined) return { ...denial, told: Promise.resolve() }
      const counted = suppressed === 0 ? {} : { suppressed }
      const data = { ...factsOf(identity, asked, rule), reason, ...counted }
      const record = async (callIds: CallId[]) => {
        if (!underWay.delete(record)) return
        const telling = tellOnce(callIds, denialSentence(denial, toldAs(asked)))
        const [only] = callIds
        const joined = callIds.length === 1 && only !== undefined ? { callId: only } : {}
        options.recorder.denied({ kind: 'egress.denied', principalId, ...joined, data: { ...data, callIds } })
        await telling
      }
      underWay.add(record)
      const telling = options.leases
        .look(identity.secretSha256)
        .then(
          (facts) => facts?.callIds ?? [],
          () => [],
        )
        .then(record)
        .catch((err: unknown) => options.log.error({ err, reason }, 'a refusal could not be recorded'))
      return { ...denial, told: atMost(telling, tellMs) }
    },
    denyStranger(asked, claimedSource) {
      options.metrics.denied(undefined, 'lease_invalid')
      const source = printable(claimedSource, 40)
      const suppressed = strangers.pass()
      if (suppressed !== undefined) {
        options.recorder.denied({
          kind: 'egress.denied',
          data: {
            ...factsOf({ sourceId: source, runnerId: null, generation: null }, asked, 'lease'),
            reason: 'lease_invalid',
            suppressed,
          },
        })
      }
      return { status: 407, reason: 'lease_invalid', rule: 'lease', host: placeOf(asked), source }
    },
    denyUnrecorded(reason, source) {
      options.metrics.denied(source, reason)
      const rule = unrecorded[reason]
      return { status: denialStatus(reason), reason, rule, host: '', source: source ?? '' }
    },
    async close(graceMs) {
      const deadline = performance.now() + graceMs
      while (underWay.size > 0 && performance.now() < deadline) await sleep(20)
      await Promise.all([...underWay].map((record) => record([])))
    },
  }
}

/** Settles with `work`, or after `ms`. */
function atMost(work: Promise<void>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const limit = setTimeout(resolve, ms)
    void work.finally(() => {
      clearTimeout(limit)
      resolve()
    })
  })
}
