import type { ServerResponse } from 'node:http'
import type { AppError, ErrorCode } from '../core/index.ts'
import type { Refusal } from '../wire/index.ts'

/** A refusal of the protocol, sent before anything has run. */
export class Refused extends Error {
  readonly status: number
  readonly code: Refusal['code']

  constructor(status: number, code: Refusal['code'], message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** Answers with one JSON body. */
export function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

/** How our errors are told before anything ran; what is not here was asked wrongly. */
const refusals: Partial<Record<ErrorCode, { status: number; code: Refusal['code'] }>> = {
  runner_busy: { status: 503, code: 'busy' },
  source_failed: { status: 503, code: 'source_failed' },
  egress_not_enforced: { status: 503, code: 'egress_not_enforced' },
  too_large: { status: 413, code: 'too_large' },
}

/** How an error that ended a request before anything ran is told to the gateway. */
export function toRefusal(error: AppError | Refused): { status: number; refusal: Refusal } {
  const { message } = error
  if (error instanceof Refused) return { status: error.status, refusal: { code: error.code, message } }
  const { status, code } = refusals[error.code] ?? { status: 400, code: 'invalid' as const }
  return { status, refusal: { code, message } }
}
