import { AppError } from '../../core/index.ts'
import { Refusal } from '../../wire/index.ts'
import { type Exchange, exchange, toError } from './exchange.ts'
import type { Refused } from './types.ts'

interface Shape<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false }
}

/** Longest answer that is read, in bytes: a list of thousands of tools fits. */
const answerBytes = 16 * 1024 * 1024

/**
 * A request with one JSON answer. Returns what the toolhost said, a refusal included; throws `runner_failed` with
 * `details.sent` when it said nothing that can be read, and the signal's abort as such a failure too.
 */
export async function request<T>(
  what: Exchange,
  shape: Shape<T>,
  signal: AbortSignal,
): Promise<{ type: 'ok'; body: T } | Refused> {
  const { status, text } = await send(what, signal)
  const body = parse(text)
  if (status >= 200 && status < 300) {
    const parsed = shape.safeParse(body)
    if (parsed.success) return { type: 'ok', body: parsed.data }
  } else {
    const refusal = Refusal.safeParse(body)
    if (refusal.success) return { type: 'refused', ...refusal.data }
  }
  throw new AppError('runner_failed', 'the sandbox answered something that is not understood', {
    details: { sent: true, stale: false, status },
  })
}

function send(what: Exchange, signal: AbortSignal): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
  const chunks: Buffer[] = []
  let status = 0
  let bytes = 0
  const abort = () => open.abort(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
  const open = exchange(what, {
    started: (code) => {
      status = code
    },
    data(chunk) {
      bytes += chunk.length
      chunks.push(chunk)
      if (bytes > answerBytes) open.abort(new Error('the answer is too long'))
    },
    done: () => resolve({ status, text: Buffer.concat(chunks).toString('utf8') }),
    failed: (failure) => reject(toError(failure)),
  })
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  return promise.finally(() => signal.removeEventListener('abort', abort))
}

/** The JSON value of a text, or undefined. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
