import { newId } from '../core/index.ts'
import { type Fence, moveRunner, noteRunner, type RunnerRow, startRunner } from '../store/index.ts'
import type { SandboxFacts } from './driver.ts'
import type { Context } from './options.ts'

/** One step of a runner that lost its sandbox: its calls have ended with the transition; now make sure that nothing is left. */
export async function stepLost(context: Context, row: RunnerRow, fence: Fence): Promise<undefined> {
  const moved = await moveRunner(context.store.db, {
    id: row.id,
    from: 'lost',
    to: 'stopping',
    generation: row.generation,
    fence,
    replicaId: context.replica.id,
    cause: row.reason ?? 'lost',
    message: row.message,
  })
  if (moved !== undefined) context.changed(row.id)
}

/** One step of a stopping runner: ask it to end, end it, and call it stopped only when it is certainly gone. */
export async function stepStopping(
  context: Context,
  row: RunnerRow,
  fence: Fence,
  signal: AbortSignal,
): Promise<number | undefined> {
  if (!(await endSandbox(context, row, signal))) return 250
  const stopped = await moveRunner(context.store.db, {
    id: row.id,
    from: 'stopping',
    to: 'stopped',
    generation: row.generation,
    fence,
    replicaId: context.replica.id,
    cause: row.reason ?? 'stopped',
    message: row.message,
    set: { sandboxUid: null },
  })
  if (stopped === undefined) return undefined
  context.changed(row.id)
  if (stopped.wanted) await startAgain(context, stopped, 'stopped')
  return undefined
}

/** One step of a failed runner: first nothing may be left of it; then, while somebody wants it, another start. */
export async function stepFailed(
  context: Context,
  row: RunnerRow,
  fence: Fence,
  signal: AbortSignal,
): Promise<number | undefined> {
  if (row.sandboxUid !== null) {
    if (!(await endSandbox(context, row, signal))) return 1_000
    await noteRunner(context.store.db, row.id, fence, { sandboxUid: null })
  }
  if (!row.wanted) return 0
  return (await startAgain(context, row, 'failed', fence)) === 'full' ? 500 : undefined
}

async function startAgain(
  context: Context,
  row: RunnerRow,
  from: 'stopped' | 'failed',
  fence?: Fence,
): Promise<RunnerRow | 'full' | undefined> {
  const started = await startRunner(context.store.db, {
    id: row.id,
    from,
    generation: row.generation,
    sandboxUid: newId('sbx'),
    cap: context.timings.startingCap,
    replicaId: context.replica.id,
    cause: from === 'failed' ? 'retry' : 'wanted',
    ...(fence === undefined ? {} : { fence }),
  })
  if (started !== undefined && started !== 'full') context.changed(row.id)
  return started
}

/** True when the sandbox that the row names is certainly gone; another one under its name is not touched. */
async function endSandbox(context: Context, row: RunnerRow, signal: AbortSignal): Promise<boolean> {
  const { driver, timings } = context
  const { sandboxUid } = row
  const facts = await driver.observe(row.name, signal)
  if (facts === undefined || sandboxUid === null || facts.uid !== sandboxUid) return true
  await drain(context, facts, signal)
  await driver.delete(row.name, sandboxUid, timings.stopGraceMs, signal)
  const left = await driver.observe(row.name, signal)
  return left === undefined || left.uid !== sandboxUid
}

/** A courtesy with a short limit: the deletion that follows does not depend on it. */
async function drain(context: Context, facts: SandboxFacts, signal: AbortSignal): Promise<void> {
  if (facts.phase !== 'running' || facts.address === null) return
  try {
    const dial = await context.driver.dial(facts)
    try {
      await context.toolhost.drain(dial, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(300)]),
        expect: { sandboxUid: facts.uid, generation: facts.generation },
      })
    } finally {
      dial.release()
    }
  } catch (err) {
    context.log.debug({ runner: facts.name, err }, 'toolhost did not take the drain')
  }
}
