import { moveRunner, type RunnerRow } from '../store/index.ts'
import type { Context } from './options.ts'

/** What a direct look says about a sandbox that was believed to run. */
export type Verdict = 'alive' | 'lost' | 'in doubt'

/**
 * Looks directly at the sandbox of a ready runner and moves the row to `lost` when it is certainly not there any
 * more. A driver that cannot tell changes nothing (invariant 12).
 */
export async function checkReady(
  context: Context,
  runner: Pick<RunnerRow, 'id' | 'name' | 'generation'> & { sandboxUid: string },
  signal: AbortSignal,
): Promise<Verdict> {
  const { driver, log } = context
  let loss: string | undefined
  try {
    const facts = await driver.observe(runner.name, signal)
    if (facts === undefined) loss = 'its sandbox was gone: it crashed or was ended from outside'
    else if (facts.uid !== runner.sandboxUid || facts.generation !== runner.generation)
      loss = 'another sandbox had taken its place'
    else if (facts.phase === 'failed' || facts.phase === 'stopping')
      loss = facts.message ?? 'its sandbox failed or was ended from outside'
  } catch (err) {
    log.warn({ runner: runner.name, err }, 'a sandbox cannot be observed; nothing is changed')
    return 'in doubt'
  }
  if (loss === undefined) return 'alive'
  await loseRunner(context, runner, 'sandbox_gone', loss)
  return 'lost'
}

/** Moves a ready runner of this very life to `lost`: its calls end, and what is left of its sandbox is ended. */
export async function loseRunner(
  context: Context,
  runner: Pick<RunnerRow, 'id' | 'name' | 'generation'> & { sandboxUid: string },
  cause: string,
  loss: string,
): Promise<void> {
  const { store, replica, log } = context
  const moved = await moveRunner(store.db, {
    id: runner.id,
    from: 'ready',
    to: 'lost',
    generation: runner.generation,
    sandboxUid: runner.sandboxUid,
    replicaId: replica.id,
    cause,
    message: loss,
  })
  if (moved === undefined) return
  log.warn({ runner: runner.name, generation: runner.generation, loss }, 'runner lost its sandbox')
  context.changed(runner.id)
}
