import { setTimeout as sleep } from 'node:timers/promises'
import {
  type AuditEvent,
  type CallId,
  createTrouble,
  type EgressOutcome,
  type Log,
  type ReplicaId,
} from '../../core/index.ts'
import {
  type Connection,
  copyEvents,
  onConnection,
  type Store,
  type WrittenEvent,
} from '../../store/index.ts'
import { quietMoment } from '../economy/busy.ts'
import type { InFlight } from '../leases/in-flight.ts'
import type { Identity } from '../leases/leases.ts'
import { type AllowedEvent, type DeniedEvent, type Ended, logEnded, logRefusal } from './line.ts'
import type { Metrics } from './metrics.ts'

/** The record of one request that was let out. */
export interface OpenRecord {
  /** How it ended; the first word counts. */
  finish(outcome: EgressOutcome): void
}

export interface Recorder {
  /**
   * False while records cannot be written, or too many of this person wait to be: then nothing of theirs may be let
   * out. Nobody can fill the queue for the others.
   */
  healthy(principalId: string): boolean
  /**
   * The same, but too many are waited for, for `roomMs` at most: a database that pauses is no outage. How many
   * wait at once is for the caller to bound.
   */
  room(principalId: string): boolean | Promise<boolean>
  /** `identity` is whose calls it is joined to: those that run at this moment. */
  allowed(event: AllowedEvent, identity: Identity): OpenRecord
  /**
   * Of refusals, which go on while nothing is let out, so many wait again; the rest are counted, and the next one of this
   * person that is recorded says how many they were.
   */
  denied(event: DeniedEvent): void
  /** How many wait to be written. */
  readonly waiting: number
  /** Writes what is still to be written, trying for at most `graceMs`. */
  close(graceMs: number): Promise<void>
}

interface Entry {
  event: AuditEvent
  since: number
  /** Of a request that was let out: whose calls are asked for before it is written, and how long it took once ended. */
  open: { event: AllowedEvent; identity: Identity; durationMs: number | undefined } | undefined
  /** Once in a batch the row is as it is. */
  taken: boolean
  /** Nothing more will be said about it. */
  ended: boolean
}

const batchSize = 500
/** So long a record waits for its end, so that most requests are one row. */
const endMs = 20
/**
 * A batch is made and sent `few` records at a time, with pauses between and where no request is under way, if that is
 * soon: made in one go it holds up a request that arrives meanwhile, and so does a database that is at work next to it.
 * A `crowd` takes less in one go (a tenth of all the work at 32 tunnels), and there every request waits for others anyway.
 */
const few = 10
const crowd = 200
const pauseMs = 1
const quietMs = 2

/**
 * Writes records in batches, most within twice `delayMs` of their decision. They are queued before
 * anything is dialled; while the oldest has waited longer than `patienceMs`, or too many wait, `healthy()` says no and
 * the proxy lets nothing out (docs/decisions/0005).
 */
export function createRecorder(options: {
  store: Store
  inFlight: InFlight
  metrics: Metrics
  /** Of this proxy. */
  replicaId: ReplicaId
  log: Log
  delayMs: number
  patienceMs: number
  roomMs: number
  maxQueued: number
  maxQueuedPerPrincipal: number
}): Recorder {
  const { log } = options
  const trouble = createTrouble(log, {
    fails: 'records could not be written',
    lasts: 'records still cannot be written',
    over: 'records can be written again',
  })
  let queue: Entry[] = []
  /** Records that wait, by person. */
  const waiting = new Map<string, number>()
  const count = (event: AuditEvent, by: 1 | -1) => {
    const principalId = event.principalId ?? 'nobody'
    const now = (waiting.get(principalId) ?? 0) + by
    if (now === 0) waiting.delete(principalId)
    else waiting.set(principalId, now)
  }
  let writing: Entry[] = []
  /** Why the calls of what is being written could not be read. */
  let unjoined: { failed: unknown } | undefined
  let timer: NodeJS.Timeout | undefined
  let flushing: Promise<void> | undefined
  let closing = false
  let abandoned = false
  /** Settles when some were written; made when somebody waits for it. */
  let written: PromiseWithResolvers<void> | undefined

  const oldest = () => writing[0] ?? queue[0]

  const due = (entry: Entry, now: number) => closing || entry.ended || now - entry.since >= endMs

  /**
   * Names the calls of what is being written, by the connection that is to write it: where calls alone cannot be read
   * it is written without them.
   */
  const join = async (connection: Connection) => {
    unjoined = undefined
    const asked = writing.flatMap(({ since, open }) => (open === undefined ? [] : [{ at: since, ...open }]))
    if (asked.length === 0) return
    let found: CallId[][]
    try {
      found = await options.inFlight.at(connection, asked)
    } catch (failed) {
      // Rejects where the connection broke: then nothing can be written on it either, and both are tried again.
      await connection.query('SELECT')
      unjoined = { failed }
      return
    }
    for (const [i, { event }] of asked.entries()) {
      const callIds = found[i] ?? []
      event.data.callIds = callIds
      // The event's own column, by which a call's events are found, has room for one.
      if (callIds.length === 1 && callIds[0] !== undefined) event.callId = callIds[0]
    }
  }

  /** Records as text; from then on they stay as they are, and those that have ended have their line. */
  const write = (entries: readonly Entry[]): WrittenEvent[] => {
    const ended: Ended[] = []
    const written = entries.map((entry) => {
      entry.taken = true
      const { event, open } = entry
      // Of one that goes on the row says who has it: where that proxy is killed, nobody writes an end.
      const goesOn = open !== undefined && !entry.ended
      const data = JSON.stringify(goesOn ? { ...event.data, replicaId: options.replicaId } : event.data)
      if (open?.durationMs !== undefined) ended.push({ event: open.event, data, durationMs: open.durationMs })
      return { ...event, data }
    })
    logEnded(log, ended)
    return written
  }

  /** The batch, `made` of it from an attempt that failed. */
  async function* partsOf(made: WrittenEvent[]): AsyncGenerator<WrittenEvent[]> {
    if (made.length > 0) yield [...made]
    const size = writing.length > crowd ? writing.length : few
    while (made.length < writing.length) {
      if (made.length > 0) {
        await sleep(pauseMs)
        await quietMoment(quietMs)
      }
      const part = write(writing.slice(made.length, made.length + size))
      made.push(...part)
      yield part
    }
    // The database does most of its work at the end.
    await quietMoment(quietMs)
  }

  const flush = async () => {
    let pause = 50
    for (;;) {
      const now = performance.now()
      const rest: Entry[] = []
      for (const entry of queue) {
        const into = writing.length < batchSize && due(entry, now) ? writing : rest
        into.push(entry)
      }
      queue = rest
      if (writing.length === 0) return
      await quietMoment(quietMs)
      const made: WrittenEvent[] = []
      for (;;) {
        try {
          await onConnection(options.store.pool, async (connection) => {
            // What is made stays as it is.
            if (made.length === 0) await join(connection)
            await copyEvents(connection, partsOf(made))
          })
          trouble.over('records')
          break
        } catch (err) {
          trouble.happened('records', err)
          if (abandoned) throw err
          await sleep(pause)
          pause = Math.min(pause * 2, 1_000)
        }
      }
      if (unjoined !== undefined)
        log.warn(
          { err: unjoined.failed, records: writing.length },
          'requests could not be joined to their calls',
        )
      for (const { event } of writing) count(event, -1)
      writing = []
      written?.resolve()
      written = undefined
      // What came meanwhile waits its time, or one request after the other would have a batch each.
      if (queue.length < batchSize && !closing) return
    }
  }

  const start = () => {
    timer = undefined
    flushing ??= flush()
      .catch(() => undefined)
      .finally(() => {
        flushing = undefined
        if (queue.length > 0 && !abandoned) schedule()
      })
  }
  const schedule = () => {
    timer ??= setTimeout(start, options.delayMs)
  }
  const add = (event: AuditEvent, ended: boolean, open?: Entry['open']): Entry => {
    const entry = { event, since: performance.now(), open, taken: false, ended }
    queue.push(entry)
    count(event, 1)
    schedule()
    return entry
  }

  /** Whether records are being written at all, as far as is known. */
  const isWritten = () => {
    const first = oldest()
    return !closing && (first === undefined || performance.now() - first.since <= options.patienceMs)
  }
  const hasRoom = (principalId: string) =>
    queue.length + writing.length <= options.maxQueued &&
    (waiting.get(principalId) ?? 0) <= options.maxQueuedPerPrincipal
  /** Refusals that are only counted, by person. */
  const unwritten = new Map<string, number>()
  const hasRoomForRefusals = (principalId: string) =>
    queue.length + writing.length <= 2 * options.maxQueued &&
    (waiting.get(principalId) ?? 0) <= 2 * options.maxQueuedPerPrincipal
  const healthy = (principalId: string) => isWritten() && hasRoom(principalId)

  const waitForRoom = async (principalId: string): Promise<boolean> => {
    const late = Promise.withResolvers<'late'>()
    const timer = setTimeout(() => late.resolve('late'), options.roomMs)
    while (isWritten() && !hasRoom(principalId)) {
      written ??= Promise.withResolvers()
      if ((await Promise.race([written.promise, late.promise])) === 'late') break
    }
    clearTimeout(timer)
    return healthy(principalId)
  }

  return {
    healthy,
    room: (principalId) => healthy(principalId) || (isWritten() && waitForRoom(principalId)),
    allowed(event, identity) {
      options.metrics.allowed(event)
      const open: Entry['open'] = { event, identity, durationMs: undefined }
      const entry = add(event, false, open)
      let finished = false
      return {
        finish(outcome) {
          if (finished) return
          finished = true
          options.metrics.finished(event.data.sourceId, outcome)
          const durationMs = performance.now() - entry.since
          if (entry.taken) {
            const data = JSON.stringify({ ...event.data, outcome })
            logEnded(log, [{ event, data, durationMs }])
            const { requestId, sourceId } = event.data
            const { principalId } = event
            const who = principalId === undefined ? {} : { principalId }
            add({ kind: 'egress.finished', ...who, data: { requestId, sourceId, ...outcome } }, true)
          } else {
            event.data.outcome = outcome
            open.durationMs = durationMs
            entry.ended = true
          }
        },
      }
    },
    denied(event) {
      logRefusal(log, event)
      const who = event.principalId ?? 'nobody'
      const before = (unwritten.get(who) ?? 0) + (event.data.suppressed ?? 0)
      if (!hasRoomForRefusals(who)) return void unwritten.set(who, before + 1)
      unwritten.delete(who)
      add(before === 0 ? event : { ...event, data: { ...event.data, suppressed: before } }, true)
    },
    get waiting() {
      return queue.length + writing.length
    },
    async close(graceMs) {
      if (timer !== undefined) clearTimeout(timer)
      closing = true
      written?.resolve()
      const deadline = performance.now() + graceMs
      while (queue.length + writing.length > 0 && performance.now() < deadline) {
        start()
        await Promise.race([flushing, new Promise((resolve) => setTimeout(resolve, 100).unref())])
      }
      abandoned = true
      if (queue.length + writing.length > 0) {
        log.error(
          { records: queue.length + writing.length },
          'records were lost, the database did not take them',
        )
      }
    },
  }
}
