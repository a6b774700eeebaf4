import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Secret } from '../core/index.ts'

/** A request older, or further in the future, than this is refused: it may be a recorded one. */
const freshSeconds = 300

export type SignatureProblem = 'missing' | 'stale' | 'wrong'

/** What is wrong with a request's Slack signature (`v0` over timestamp and raw body), or undefined. */
export function signatureProblem(request: {
  signingSecret: Secret
  timestamp: string | undefined
  signature: string | undefined
  body: Uint8Array
  nowMs: number
}): SignatureProblem | undefined {
  const { timestamp, signature } = request
  if (timestamp === undefined || signature === undefined || !/^\d{1,12}$/.test(timestamp)) return 'missing'
  if (Math.abs(request.nowMs / 1000 - Number(timestamp)) > freshSeconds) return 'stale'
  const expected = createHmac('sha256', request.signingSecret.reveal())
    .update(`v0:${timestamp}:`)
    .update(request.body)
    .digest('hex')
  const given = Buffer.from(signature)
  const wanted = Buffer.from(`v0=${expected}`)
  return given.length === wanted.length && timingSafeEqual(given, wanted) ? undefined : 'wrong'
}
