import { AppError, unlessAborted } from '../core/index.ts'
import type { CallFrame, CallRequest, Cancelled } from '../wire/index.ts'
import { createAdmission } from './admission.ts'
import { runCall } from './run-call.ts'
import type { Source } from './source.ts'

/** The calls of this sandbox: each runs at most once, few at a time. */
export interface Calls {
  /**
   * Carries a call to its ending and hands its frames to `emit`: `accepted` when it begins, then the others. A call
   * cancelled before it began has its `failed` frame without `accepted`. Rejects with an AppError when it was
   * refused: then nothing has run and no frame was emitted.
   */
  run(request: CallRequest, source: Source, signal: AbortSignal, emit: Emit): Promise<void>
  /** Stops a call and settles when it has ended; undefined when no call of this id runs or waits. */
  cancel(callId: string): Promise<Cancelled> | undefined
  /** Lets what runs go on for at most `ms`, then cancels it. */
  drain(ms: number): Promise<void>
  readonly running: number
  readonly queued: number
}

export type Emit = (frame: CallFrame) => void

interface Entry {
  stop: AbortController
  ended: Promise<Cancelled>
}

/** Ids of calls that began, kept so that a repeated one is refused: they may have done their work. */
const remembered = 4_096

export function createCalls(limits: { parallelCalls: number; queuedCalls: number }): Calls {
  const admission = createAdmission({ parallel: limits.parallelCalls, queued: limits.queuedCalls })
  const open = new Map<string, Entry>()
  const begun = new Set<string>()

  async function run(request: CallRequest, source: Source, signal: AbortSignal, emit: Emit): Promise<void> {
    const { callId } = request
    if (open.has(callId) || begun.has(callId))
      throw new AppError('conflict', `call ${callId} was sent before; a call runs at most once`)
    const stop = new AbortController()
    const ended = Promise.withResolvers<Cancelled>()
    open.set(callId, { stop, ended: ended.promise })
    let how: Cancelled['how'] = 'never_started'
    const abort = () => stop.abort()
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    try {
      how = await carry(request, source, stop.signal, emit)
    } catch (error) {
      if (error instanceof AppError) throw error
      if (!stop.signal.aborted) throw error
      emit({ type: 'failed', code: 'call_cancelled', message: 'the call was cancelled before it began' })
    } finally {
      signal.removeEventListener('abort', abort)
      open.delete(callId)
      ended.resolve({ callId, how })
    }
  }

  async function carry(
    request: CallRequest,
    source: Source,
    signal: AbortSignal,
    emit: Emit,
  ): Promise<Cancelled['how']> {
    const leave = await admission.enter(signal)
    try {
      const session = await unlessAborted(source.session(), signal)
      signal.throwIfAborted()
      remember(request.callId)
      emit({ type: 'accepted' })
      const ending = await runCall({ request, source, session, signal, progress: emit })
      emit(ending.frame)
      return ending.how ?? 'finished'
    } finally {
      leave()
    }
  }

  function remember(callId: string): void {
    begun.add(callId)
    if (begun.size <= remembered) return
    const [oldest] = begun
    if (oldest !== undefined) begun.delete(oldest)
  }

  return {
    run,
    cancel(callId) {
      const entry = open.get(callId)
      entry?.stop.abort()
      return entry?.ended
    },
    async drain(ms) {
      const all = () => Promise.all([...open.values()].map((entry) => entry.ended))
      const late = Promise.withResolvers<void>()
      const timer = setTimeout(late.resolve, ms)
      await Promise.race([all(), late.promise])
      clearTimeout(timer)
      for (const entry of open.values()) entry.stop.abort()
      await all()
    },
    get running() {
      return admission.running
    },
    get queued() {
      return admission.queued
    },
  }
}
