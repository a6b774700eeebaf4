import { setTimeout as sleep } from 'node:timers/promises'
import { findRunner } from '../store/index.ts'
import type { CallFrame } from '../wire/index.ts'
import type { ToolhostDial } from './driver.ts'
import { cancelled } from './gate.ts'
import type { Held } from './held.ts'
import type { Context } from './options.ts'
import type { ToolhostAnswer } from './toolhost.ts'
import type { RunnerCall, RunnerCallHooks } from './types.ts'
import { saysUnsent, Unsent } from './unsent.ts'
import { look } from './visit.ts'

/** How long a call on a generation that has ended may still bring its own last frame. */
const lastWordsMs = 250

/**
 * Sends the call once and waits for its end. Throws `Unsent` only when certainly nothing was processed; whatever
 * else goes wrong makes the call `unknown` (invariant 7).
 */
export async function execute(
  context: Context,
  held: Held,
  dial: ToolhostDial,
  call: RunnerCall,
  hooks: RunnerCallHooks,
): Promise<ToolhostAnswer> {
  if (hooks.signal.aborted) throw cancelled()
  if (held.ended.aborted) throw new Unsent(new Error(held.why))
  const { callId, tool, timeoutMs } = call
  const request = { callId, sourceId: call.source.id, tool, arguments: call.arguments, timeoutMs }
  const abort = new AbortController()
  const cancel = () => abort.abort()
  let timer: NodeJS.Timeout | undefined
  let onEnd = () => {}
  const ended = new Promise<undefined>((resolve) => {
    onEnd = () => {
      abort.abort()
      timer = setTimeout(() => resolve(undefined), lastWordsMs)
    }
  })
  hooks.signal.addEventListener('abort', cancel)
  held.ended.addEventListener('abort', onEnd)
  try {
    const sent = context.toolhost.call(dial, request, {
      signal: abort.signal,
      expect: held.expect,
      onFrame: (frame: CallFrame) => {
        if (frame.type === 'progress') hooks.progress(frame)
      },
    })
    const answer = await Promise.race([sent, ended])
    if (answer === undefined) {
      sent.catch(() => undefined)
      return endedUnder(held.why)
    }
    const isCut = answer.type === 'failed' && answer.code === 'call_cancelled'
    if (held.ended.aborted && !hooks.signal.aborted && (isCut || answer.type === 'unknown'))
      return endedUnder(held.why)
    return answer.type === 'unknown' && !hooks.signal.aborted ? await explain(context, held, answer) : answer
  } catch (error) {
    if (saysUnsent(error)) {
      if (hooks.signal.aborted) throw cancelled()
      throw new Unsent(error)
    }
    context.log.error({ callId, runner: held.name, err: error }, 'a call broke off')
    return { type: 'unknown', message: 'the connection to the sandbox broke off; the call may have run' }
  } finally {
    clearTimeout(timer)
    hooks.signal.removeEventListener('abort', cancel)
    held.ended.removeEventListener('abort', onEnd)
  }
}

/** A broken connection is often the first sign of a dead sandbox: look, so that the person learns the reason. */
async function explain(
  context: Context,
  held: Held,
  answer: Extract<ToolhostAnswer, { type: 'unknown' }>,
): Promise<ToolhostAnswer> {
  held.hangUp()
  const why = await Promise.race([reasonOfLoss(context, held), sleep(1_000)])
  return why === undefined ? answer : endedUnder(why)
}

/** Why the row says that this generation ended; nothing when it may still be alive. */
async function reasonOfLoss(context: Context, held: Held): Promise<string | undefined> {
  if ((await look(context, held)) !== 'lost') return undefined
  const row = await findRunner(context.store.db, { id: held.runnerId }).catch(() => undefined)
  const isSame = row?.generation === held.generation
  return (isSame ? row.message : null) ?? 'its sandbox was gone'
}

function endedUnder(why: string): ToolhostAnswer {
  return {
    type: 'unknown',
    message: `the sandbox ended while the call was running (${why}); it may have done part of its work`,
  }
}
