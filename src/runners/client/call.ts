import { AppError } from '../../core/index.ts'
import { type CallFrame, type CallRequest, Refusal } from '../../wire/index.ts'
import { exchange, toError } from './exchange.ts'
import { frameReader } from './frames.ts'
import type { Pools } from './pools.ts'
import { parse } from './request.ts'
import type { ToolhostAnswer, ToolhostRequest } from './types.ts'

const frameBytes = 16 * 1024 * 1024
/** A toolhost holds back what a source says beyond 10 a second; more comes from something in its place. */
const progressFrames = { free: 2_000, perSecond: 50 }

/**
 * Sends one call and reads its frames. What is not certain is `unknown`: a stream that ended without a last frame,
 * before or after `accepted`, once a byte of the request was written. `cancelInside` is asked to stop the call when
 * the signal aborts; its ending is then waited for, `cancelLimitMs` at most.
 */
export function sendCall(options: {
  pools: Pools
  socketPath: string
  request: CallRequest
  call: ToolhostRequest & { onFrame: (frame: CallFrame) => void }
  cancelInside: (settled: Promise<unknown>) => void
  cancelLimitMs: number
}): Promise<ToolhostAnswer> {
  const { request, call } = options
  const { signal, expect, onFrame } = call
  const { promise, resolve, reject } = Promise.withResolvers<ToolhostAnswer>()
  if (signal.aborted) return Promise.reject(neverSent())
  let status = 0
  let refusal = ''
  let timer: NodeJS.Timeout | undefined
  let progress = 0
  const since = performance.now()

  const read = frameReader({
    maxBytes: frameBytes,
    frame(frame) {
      if (frame.type === 'progress' && ++progress > allowed())
        return giveUp('the sandbox sent progress without end')
      onFrame(frame)
      if (frame.type !== 'accepted' && frame.type !== 'progress') resolve(frame)
    },
    unreadable: (why) => giveUp(why),
  })
  const pool = options.pools.get(options.socketPath, expect)
  const open = exchange(
    {
      pool,
      method: 'POST',
      path: '/calls',
      body: JSON.stringify(request),
      expect,
    },
    {
      started: (code) => {
        status = code
      },
      data(chunk) {
        if (status === 200) read(chunk)
        else if (refusal.length < 65_536) refusal += chunk.toString('utf8')
      },
      done() {
        if (status === 200) return resolve(unknown('the sandbox ended its answer without a result'))
        const parsed = Refusal.safeParse(parse(refusal))
        resolve(
          parsed.success
            ? { type: 'refused', ...parsed.data }
            : unknown(`the sandbox answered with status ${status}`),
        )
      },
      failed(failure) {
        if (failure.sent) {
          options.pools.retire(pool)
          resolve(unknown('the connection to the sandbox was lost'))
        } else reject(signal.aborted && !failure.stale ? neverSent() : toError(failure))
      },
    },
  )

  function allowed(): number {
    return progressFrames.free + ((performance.now() - since) / 1_000) * progressFrames.perSecond
  }

  function giveUp(why: string): void {
    resolve(unknown(why))
    // The toolhost takes the closing for a cancellation.
    open.abort(new Error(why))
  }

  function abort(): void {
    if (!open.wasSent()) return open.abort(new Error('cancelled before it was sent'))
    options.cancelInside(promise.catch(() => undefined))
    const seconds = options.cancelLimitMs / 1000
    timer = setTimeout(
      () => giveUp(`the call was cancelled, and the sandbox did not say within ${seconds} s how it ended`),
      options.cancelLimitMs,
    )
  }
  signal.addEventListener('abort', abort, { once: true })
  return promise.finally(() => {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  })
}

function unknown(why: string): ToolhostAnswer {
  return { type: 'unknown', message: `${why}; the call may have run and is not sent again` }
}

function neverSent(): AppError {
  return new AppError('call_cancelled', 'the call was cancelled before it was sent', {
    details: { sent: false, stale: false },
  })
}
