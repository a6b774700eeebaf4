import type { CallFrame, CallRequest, Cancelled } from '../wire/index.ts'
import type { Progress } from './peer.ts'
import type { FinalFrame, Session } from './session.ts'
import type { Source } from './source.ts'

/** Why a call is stopped from outside. */
export type StopCause = 'call_cancelled' | 'call_timed_out'

export interface CallEnding {
  frame: FinalFrame
  /** Set when the call was stopped from outside. */
  how: Cancelled['how'] | null
}

/** Progress frames passed on at once; after that one per `everyMs`, so that a flood stays in the sandbox. */
const progressFlow = { free: 200, everyMs: 100 }

/**
 * Runs one accepted call to its ending. The time limit counts from here: neither the queue nor the start of the
 * source is part of it. Never rejects.
 */
export async function runCall(options: {
  request: CallRequest
  source: Source
  session: Session
  signal: AbortSignal
  progress: (frame: Extract<CallFrame, { type: 'progress' }>) => void
}): Promise<CallEnding> {
  const { request, source, session } = options
  const live = session.call(request.tool, request.arguments, throttled(options.progress))
  const stopped = Promise.withResolvers<StopCause>()
  const timer = setTimeout(() => stopped.resolve('call_timed_out'), request.timeoutMs)
  const abort = () => stopped.resolve('call_cancelled')
  options.signal.addEventListener('abort', abort, { once: true })
  if (options.signal.aborted) abort()
  try {
    const first = await Promise.race([live.settled, stopped.promise])
    if (typeof first !== 'string') return { frame: first, how: null }
    const how = await source.cancel(session, live, first)
    return { frame: { type: 'failed', code: first, message: describe(first, how, request) }, how }
  } finally {
    clearTimeout(timer)
    options.signal.removeEventListener('abort', abort)
  }
}

function describe(cause: StopCause, how: Cancelled['how'], request: CallRequest): string {
  const what =
    cause === 'call_cancelled'
      ? 'the call was cancelled'
      : `the call took longer than its ${request.timeoutMs / 1000} s and was stopped`
  if (how !== 'left_to_source') return what
  return `${what}; source "${request.sourceId}" was told, and is restarted when its other calls are through`
}

function throttled(
  pass: (frame: Extract<CallFrame, { type: 'progress' }>) => void,
): (progress: Progress) => void {
  let passed = 0
  let last = 0
  return (progress) => {
    passed += 1
    if (passed > progressFlow.free) {
      const now = Date.now()
      if (now - last < progressFlow.everyMs) return
      last = now
    }
    pass({ type: 'progress', ...progress })
  }
}
