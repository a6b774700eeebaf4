import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, newId } from '../core/index.ts'
import { type Fence, moveRunner, noteRunner, type RunnerRow, raiseGeneration } from '../store/index.ts'
import type { SandboxFacts, SandboxSpec } from './driver.ts'
import type { Context } from './options.ts'

interface Failure {
  cause: string
  message: string
  /** Trying again at once would only fail again. */
  fatal?: true
}

/**
 * One step of a starting runner: make its sandbox, or find the one made before, and see it ready. Whatever a
 * predecessor left undone, by a crash or a lost answer, this continues. Returns the ms after which another step
 * is due, or nothing when the row moved on.
 */
export async function stepStarting(
  context: Context,
  row: RunnerRow,
  fence: Fence,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { driver, timings, log } = context
  const late = startedTooLong(context, row)
  if (late !== undefined) return await fail(context, row, fence, late, signal)

  let facts = await driver.observe(row.name, signal)
  if (facts === undefined) {
    if (row.phase === 'booting') return await fail(context, row, fence, gone, signal)
    try {
      const made = await driver.ensure(await sandboxSpec(context, row), signal)
      if (made.kind === 'taken') return await clearName(context, row, fence, made.facts, signal)
      facts = made.facts
    } catch (err) {
      // Our own errors say for certain that it could not be made; another may be a lost answer: look again.
      if (!(err instanceof AppError)) throw err
      log.warn({ runner: row.name, generation: row.generation, err }, 'sandbox could not be made')
      return await fail(context, row, fence, { cause: err.code, message: err.message, ...fatal(err) }, signal)
    }
  } else if (facts.uid !== row.sandboxUid) {
    return await clearName(context, row, fence, facts, signal)
  }
  if (row.phase !== 'booting') {
    if (!(await noteRunner(context.store.db, row.id, fence, { phase: 'booting' }))) return undefined
  }
  return await untilReady(
    context,
    row,
    fence,
    performance.now() + timings.startDeadlineMs - row.startingForMs,
    signal,
  )
}

async function untilReady(
  context: Context,
  row: RunnerRow,
  fence: Fence,
  deadline: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { driver, store, replica } = context
  let told = row.message
  for (let wait = 5; !signal.aborted; wait = Math.min(wait * 1.5, 250)) {
    const facts = await driver.observe(row.name, signal)
    if (facts === undefined || facts.uid !== row.sandboxUid || facts.phase === 'stopping')
      return await fail(context, row, fence, gone, signal)
    if (facts.phase === 'failed')
      return await fail(
        context,
        row,
        fence,
        { cause: 'sandbox_failed', message: facts.message ?? 'its sandbox failed while it booted' },
        signal,
      )
    const seen = facts.address === null ? 'not yet' : await greet(context, facts, signal)
    if (seen === 'ready') {
      const moved = await moveRunner(store.db, {
        id: row.id,
        from: 'starting',
        to: 'ready',
        generation: row.generation,
        sandboxUid: facts.uid,
        fence,
        replicaId: replica.id,
        cause: 'ready',
        message: null,
        set: { address: facts.address ?? '', isolation: driver.isolation, wanted: false, failures: 0 },
        detail: { startedInMs: Math.round(context.timings.startDeadlineMs - deadline + performance.now()) },
      })
      if (moved !== undefined) context.changed(row.id)
      return undefined
    }
    if (seen !== 'not yet') return await fail(context, row, fence, seen, signal)
    if (performance.now() > deadline)
      return await fail(context, row, fence, tooLong(context, facts.message), signal)
    if (facts.message !== told) {
      told = facts.message
      if (!(await noteRunner(store.db, row.id, fence, { message: told }))) return undefined
    }
    await sleep(wait, undefined, { signal }).catch(() => undefined)
  }
  return 0
}

/** Asks the toolhost who it is and whether its walls hold; no answer means not yet. */
async function greet(
  context: Context,
  facts: SandboxFacts,
  signal: AbortSignal,
): Promise<'ready' | 'not yet' | Failure> {
  const { driver, toolhost, log } = context
  try {
    const dial = await driver.dial(facts)
    try {
      const health = await toolhost.health(dial, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]),
      })
      if (health.sandboxUid !== facts.uid || health.generation !== facts.generation) {
        log.error(
          { runner: facts.name, expected: facts.uid, answered: health.sandboxUid },
          'another sandbox answered',
        )
        return { cause: 'identity_mismatch', message: 'another sandbox answered in its place' }
      }
      if (health.egress === 'open') {
        log.error({ runner: facts.name, leak: health.leak }, 'a sandbox can reach the outside directly')
        return {
          cause: 'egress_not_enforced',
          message:
            'the sandbox can reach the outside without the proxy, so it was ended; an admin must repair its isolation',
          fatal: true,
        }
      }
      // Without isolation there are no walls to probe, and every surface says so. Else the probe is still under way.
      return health.egress === 'enforced' || driver.isolation === 'none' ? 'ready' : 'not yet'
    } finally {
      dial.release()
    }
  } catch (err) {
    log.debug({ runner: facts.name, err }, 'toolhost does not answer yet')
    return 'not yet'
  }
}

/** The name is held by another sandbox: one of ours from before is ended; anything else is left alone. */
async function clearName(
  context: Context,
  row: RunnerRow,
  fence: Fence,
  facts: SandboxFacts,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { driver, store, timings, log } = context
  const ours = (await driver.list(signal)).some((one) => one.name === row.name && one.uid === facts.uid)
  if (!ours) {
    return await fail(
      context,
      row,
      fence,
      {
        cause: 'name_conflict',
        message: `something that is not ours has the name ${row.name}; it was left alone; an admin must remove it`,
        fatal: true,
      },
      signal,
    )
  }
  if (facts.generation >= row.generation) {
    // The database is older than the sandbox, as after a restored backup. Its leases may be unknown here: replace it.
    log.error(
      { runner: row.name, row: row.generation, sandbox: facts.generation },
      'sandbox is newer than its row',
    )
    const next = { generation: facts.generation + 1, sandboxUid: newId('sbx') }
    if (!(await raiseGeneration(store.db, row.id, fence, next))) return undefined
  }
  await driver.delete(row.name, facts.uid, timings.stopGraceMs, signal)
  return 0
}

async function fail(
  context: Context,
  row: RunnerRow,
  fence: Fence,
  failure: Failure,
  signal: AbortSignal,
): Promise<undefined> {
  const { driver, store, replica, timings, log } = context
  const { sandboxUid } = row
  let cleared = false
  if (sandboxUid !== null) {
    try {
      await driver.delete(row.name, sandboxUid, 0, signal)
      const left = await driver.observe(row.name, signal)
      cleared = left === undefined || left.uid !== sandboxUid
    } catch (err) {
      // The row still names it, and the step of a failed runner ends it.
      log.warn({ runner: row.name, err }, 'ending a failed sandbox failed')
    }
  }
  const failures = row.failures + 1
  const backoff = failure.fatal === true ? undefined : timings.startBackoffMs[failures - 1]
  const moved = await moveRunner(store.db, {
    id: row.id,
    from: 'starting',
    to: 'failed',
    generation: row.generation,
    fence,
    replicaId: replica.id,
    cause: failure.cause,
    message: failure.message,
    set: {
      failures,
      nextAttemptMs: backoff ?? (failure.fatal === true ? timings.fatalGiveUpMs : timings.giveUpMs),
      ...(backoff === undefined ? { wanted: false } : {}),
      ...(cleared ? { sandboxUid: null } : {}),
    },
  })
  if (moved !== undefined) context.changed(row.id)
  return undefined
}

const gone: Failure = { cause: 'sandbox_gone', message: 'its sandbox ended while it booted' }

function fatal(err: AppError): { fatal?: true } {
  return err.code === 'isolation_unavailable' || err.code === 'egress_not_enforced' ? { fatal: true } : {}
}

function startedTooLong(context: Context, row: RunnerRow): Failure | undefined {
  return row.startingForMs > context.timings.startDeadlineMs ? tooLong(context, row.message) : undefined
}

function tooLong(context: Context, message: string | null): Failure {
  const seconds = Math.round(context.timings.startDeadlineMs / 1000)
  return {
    cause: 'start_timeout',
    message: `it was not ready after ${seconds} s (${message ?? 'the toolhost did not answer'})`,
  }
}

async function sandboxSpec(context: Context, row: RunnerRow): Promise<SandboxSpec> {
  if (row.sandboxUid === null) throw new Error('a starting runner names its sandbox')
  return {
    name: row.name,
    homeName: row.homeName,
    principalId: row.principalId,
    generation: row.generation,
    uid: row.sandboxUid,
    caCertificate: await context.caCertificate(),
    limits: context.limits,
  }
}
