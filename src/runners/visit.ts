import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, type PrincipalId, unlessAborted } from '../core/index.ts'
import type { ToolhostDial } from './driver.ts'
import { checkReady } from './facts.ts'
import { cancelled } from './gate.ts'
import type { Held } from './held.ts'
import type { Holds } from './holds.ts'
import type { Context } from './options.ts'
import { Unsent } from './unsent.ts'
import type { Wakes } from './wake.ts'

/** The parts of the room that a call goes through. */
export interface Parts {
  context: Context
  holds: Holds
  wakes: Wakes
}

const attempts = 3

/**
 * Does `work` with the principal's runner, awake and held. When `work` throws `Unsent`, the sandbox is looked at
 * directly, woken anew if it is gone, and `work` done again, three times at most: nothing has run.
 */
export async function visit<T>(
  parts: Parts,
  principalId: PrincipalId,
  caller: { signal: AbortSignal; waiting(sentence: string): void },
  work: (held: Held) => Promise<T>,
): Promise<T> {
  const { context, holds, wakes } = parts
  const deadline = performance.now() + context.timings.coldCallCapMs
  for (let attempt = 1; ; attempt++) {
    const held = await wakes.obtain(principalId, {
      signal: caller.signal,
      waiting: (sentence) => caller.waiting(sentence),
      deadline,
    })
    try {
      return await work(held)
    } catch (error) {
      if (!(error instanceof Unsent)) throw error
      context.log.info(
        { runner: held.name, generation: held.generation, attempt, err: error },
        'nothing was sent',
      )
      if (caller.signal.aborted) throw cancelled()
      if (attempt >= attempts) throw unreachable(error)
      await recover(parts, held, attempt)
    } finally {
      holds.leave(held)
    }
  }
}

/** The open way to a held sandbox; `Unsent` when there is none. */
export async function openDial(context: Context, held: Held, signal: AbortSignal): Promise<ToolhostDial> {
  if (held.ended.aborted) throw new Unsent(new Error(held.why))
  const dial = held.dial(context.driver).catch((error: unknown) => {
    throw new Unsent(error)
  })
  return await unlessAborted(dial, signal, cancelled)
}

/** After an attempt that reached nobody: a direct look decides whether to wait a little or to wake anew. */
async function recover({ context, holds }: Parts, held: Held, attempt: number): Promise<void> {
  held.hangUp()
  if (held.ended.aborted) return
  if ((await look(context, held)) === 'lost') holds.end(held, 'its sandbox was gone')
  else await sleep(100 * 2 ** attempt)
}

/** Looks directly at a held sandbox, for at most 5 s; doubt changes nothing. */
export async function look(context: Context, held: Held): Promise<'alive' | 'lost' | 'in doubt'> {
  const runner = {
    id: held.runnerId,
    name: held.name,
    generation: held.generation,
    sandboxUid: held.expect.sandboxUid,
  }
  try {
    return await checkReady(context, runner, AbortSignal.timeout(5_000))
  } catch (err) {
    context.log.warn({ runner: held.name, err }, 'a lost sandbox could not be recorded')
    return 'in doubt'
  }
}

function unreachable(cause: Unsent): AppError {
  return new AppError('runner_failed', 'your sandbox cannot be reached; nothing was run; try again shortly', {
    cause,
    details: { retryAfterSeconds: 5 },
  })
}
