import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, unlessAborted } from '../core/index.ts'
import type { ToolDefinition } from '../wire/index.ts'
import { execute } from './execute.ts'
import { busy, cancelled } from './gate.ts'
import type { Held } from './held.ts'
import { putSource } from './launch.ts'
import type { Context } from './options.ts'
import type { Refused } from './toolhost.ts'
import type { RunnerAnswer, RunnerCall, RunnerCallHooks, SourceToRun } from './types.ts'
import { saysUnsent, Unsent } from './unsent.ts'
import { openDial, type Parts, visit } from './visit.ts'

/** Carries one call to the toolhost, at most once; see `Runners.call`. */
export async function carry(parts: Parts, call: RunnerCall, hooks: RunnerCallHooks): Promise<RunnerAnswer> {
  let announced: number | undefined
  return await visit(parts, call.principalId, hooks, async (held) => {
    const queued = held.gate.enter(hooks.signal)
    if (queued !== undefined) {
      hooks.waiting('waiting for a place in your sandbox')
      await queued
    }
    try {
      if (held.ended.aborted) throw new Unsent(new Error(held.why))
      const life = { runnerId: held.runnerId, generation: held.generation }
      if (announced === undefined) await hooks.sending(life)
      else if (announced !== held.generation) await hooks.moved?.(life)
      announced = held.generation
      if (hooks.signal.aborted) throw cancelled()
      return await send(parts.context, held, call, hooks)
    } finally {
      held.gate.leave()
    }
  })
}

async function send(
  context: Context,
  held: Held,
  call: RunnerCall,
  hooks: RunnerCallHooks,
): Promise<RunnerAnswer> {
  const patience = performance.now() + context.timings.queueWaitMs
  for (let round = 1; ; round++) {
    const dial = await openDial(context, held, hooks.signal)
    await unlessAborted(putSource(context, held, dial, call.source), hooks.signal, cancelled)
    const answer = await execute(context, held, dial, call, hooks)
    if (answer.type !== 'refused') return answer
    // Refused: nothing has run, so the same call may be sent again.
    if (answer.code === 'busy') {
      if (performance.now() >= patience) throw busy()
      if (round === 1) hooks.waiting('waiting for a place in your sandbox')
      await sleep(Math.min(20 * 2 ** round, 250), undefined, { signal: hooks.signal }).catch(() => undefined)
      if (hooks.signal.aborted) throw cancelled()
    } else if (answer.code === 'unknown_source' && round <= 3) {
      held.puts.delete(call.source.id)
    } else return refusal(answer)
  }
}

/** The source's tools, from inside the principal's sandbox; see `Runners.listTools`. */
export async function listTools(
  parts: Parts,
  principalId: RunnerCall['principalId'],
  source: SourceToRun,
  signal: AbortSignal,
): Promise<ToolDefinition[]> {
  const { context } = parts
  return await visit(parts, principalId, { signal, waiting: () => undefined }, async (held) => {
    for (let round = 1; ; round++) {
      const dial = await openDial(context, held, signal)
      await unlessAborted(putSource(context, held, dial, source), signal, cancelled)
      try {
        const both = AbortSignal.any([signal, held.ended])
        const answer = await context.toolhost.listTools(dial, source.id, {
          signal: both,
          expect: held.expect,
        })
        if (answer.type === 'ok') return answer.tools
        if (answer.code !== 'unknown_source' || round > 3) throw toError(refusal(answer))
        held.puts.delete(source.id)
      } catch (error) {
        if (saysUnsent(error)) throw new Unsent(error)
        throw error
      }
    }
  })
}

function refusal(answer: Refused): Extract<RunnerAnswer, { type: 'failed' }> {
  if (answer.code === 'draining' || answer.code === 'not_found') throw new Unsent(new Error(answer.message))
  if (answer.code === 'invalid') throw new AppError('invalid_input', answer.message)
  return { type: 'failed', code: 'source_failed', message: answer.message }
}

function toError(failed: Extract<RunnerAnswer, { type: 'failed' }>): AppError {
  return new AppError('source_failed', failed.message)
}
