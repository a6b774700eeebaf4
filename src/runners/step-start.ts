import { AppError } from '../core/index.ts'
import { type Fence, findRunner, moveRunner, noteRunner, type RunnerRow } from '../store/index.ts'
import { clearName } from './clear-name.ts'
import type { SandboxSpec } from './driver.ts'
import { greet } from './greet.ts'
import type { Context } from './options.ts'
import { noProxyYet } from './sentences.ts'
import { failStart, fatal, gone, startedTooLong, tooLong } from './start-failure.ts'

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
  if (late !== undefined) return await failStart(context, row, fence, late, signal)

  let facts = await driver.observe(row.name, signal)
  if (facts === undefined) {
    if (row.phase === 'booting') return await failStart(context, row, fence, gone, signal)
    try {
      const made = await driver.ensure(await sandboxSpec(context, row), signal)
      if (made.kind === 'taken') return await clearName(context, row, fence, made.facts, signal)
      facts = made.facts
    } catch (err) {
      // Our own errors say for certain that it could not be made; another may be a lost answer: look again.
      if (!(err instanceof AppError)) throw err
      log.warn({ runner: row.name, generation: row.generation, err }, 'sandbox could not be made')
      return await failStart(
        context,
        row,
        fence,
        { cause: err.code, message: err.message, ...fatal(err) },
        signal,
      )
    }
  } else if (facts.uid !== row.sandboxUid) {
    return await clearName(context, row, fence, facts, signal)
  }
  if (row.phase !== 'booting') {
    if (!(await noteRunner(context.store.db, row.id, fence, { phase: 'booting' })))
      return await dropUnwanted(context, row, signal)
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
  using changes = context.sandboxes.watch(row.name)
  // The driver tells at once what it sees; the clock is for what it cannot see.
  for (let wait = 20; !signal.aborted; wait = Math.min(wait * 1.5, 250)) {
    const facts = await driver.observe(row.name, signal)
    if (facts === undefined || facts.uid !== row.sandboxUid || facts.phase === 'stopping')
      return await failStart(context, row, fence, gone, signal)
    if (facts.phase === 'failed')
      return await failStart(
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
        set: {
          address: facts.address ?? '',
          sourceAddress: facts.sourceAddress ?? null,
          isolation: driver.isolation,
          wanted: false,
          failures: 0,
        },
        detail: { startedInMs: Math.round(context.timings.startDeadlineMs - deadline + performance.now()) },
      })
      if (moved !== undefined) context.changed(row.id)
      return undefined
    }
    if (seen !== 'not yet') return await failStart(context, row, fence, seen, signal)
    if (performance.now() > deadline)
      return await failStart(context, row, fence, tooLong(context, facts.message), signal)
    if (facts.message !== told) {
      told = facts.message
      if (!(await noteRunner(store.db, row.id, fence, { message: told }))) return undefined
    }
    await changes.next(wait, signal)
  }
  return 0
}

/** The claim was lost while the sandbox was made: unless the row still names it, nobody will ever want it. */
async function dropUnwanted(context: Context, row: RunnerRow, signal: AbortSignal): Promise<undefined> {
  const now = await findRunner(context.store.db, { id: row.id })
  if (now === undefined || row.sandboxUid === null || now.sandboxUid === row.sandboxUid) return
  await context.driver.delete(row.name, row.sandboxUid, 0, signal)
}

async function sandboxSpec(context: Context, row: RunnerRow): Promise<SandboxSpec> {
  if (row.sandboxUid === null) throw new Error('a starting runner names its sandbox')
  const caCertificate = await context.caCertificate()
  if (caCertificate === undefined) throw new AppError('unavailable', noProxyYet)
  return {
    name: row.name,
    homeName: row.homeName,
    principalId: row.principalId,
    generation: row.generation,
    uid: row.sandboxUid,
    caCertificate,
    limits: context.limits,
  }
}
