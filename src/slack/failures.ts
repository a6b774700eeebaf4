import { webApi } from '@slack/bolt'
import { AppError } from '../core/index.ts'

/** What to do about a failed attempt. `detail` is one short word or two for the log and the job's row. */
export type Failure =
  | { kind: 'retry'; detail: string; afterMs?: number; pauseAll: boolean }
  | { kind: 'give-up'; detail: string }

/** Answers of Slack that no waiting changes: the person or the message cannot be reached. */
const hopeless = new Set([
  'user_not_found',
  'users_not_found',
  'user_disabled',
  'cannot_dm_bot',
  'channel_not_found',
  'not_in_channel',
  'user_not_in_channel',
  'is_archived',
  'message_not_found',
  'cant_delete_message',
  'invalid_blocks',
  'invalid_arguments',
  'msg_too_long',
])

/** Sorts an error of an attempt. What is not understood is tried again: nothing is lost by waiting. */
export function sortFailure(error: unknown): Failure {
  if (error instanceof webApi.WebAPIRateLimitedError) {
    return {
      kind: 'retry',
      detail: 'rate_limited',
      // One second more than asked: Slack counts from its own clock.
      afterMs: (Math.max(0, error.retryAfter) + 1) * 1000,
      pauseAll: true,
    }
  }
  if (error instanceof webApi.WebAPIPlatformError) {
    const code = error.data.error.slice(0, 60)
    if (hopeless.has(code)) return { kind: 'give-up', detail: code }
    return { kind: 'retry', detail: code, pauseAll: false }
  }
  if (error instanceof webApi.WebAPIHTTPError)
    return { kind: 'retry', detail: `http_${error.statusCode}`, pauseAll: false }
  if (error instanceof webApi.WebAPIRequestError)
    return { kind: 'retry', detail: 'unreachable', pauseAll: false }
  if (error instanceof AppError) return { kind: 'retry', detail: error.code, pauseAll: false }
  return { kind: 'retry', detail: error instanceof Error ? error.name : 'error', pauseAll: false }
}

/** 1 s, 2 s, 4 s … 5 min, each up to a quarter longer, so that many jobs do not come back at once. */
export function backoffMs(attempts: number, random: () => number = Math.random): number {
  const base = Math.min(1_000 * 2 ** Math.min(attempts - 1, 20), 5 * 60_000)
  return Math.round(base * (1 + random() / 4))
}
