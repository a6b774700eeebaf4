import type { ServerResponse } from 'node:http'
import type { AppError } from '../core/index.ts'
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

/** How an error that ended a request before anything ran is told to the gateway. */
export function toRefusal(error: AppError | Refused): { status: number; refusal: Refusal } {
  const { message } = error
  if (error instanceof Refused) return { status: error.status, refusal: { code: error.code, message } }
  switch (error.code) {
    case 'runner_busy':
      return { status: 503, refusal: { code: 'busy', message } }
    case 'source_failed':
      return { status: 503, refusal: { code: 'source_failed', message } }
    case 'egress_not_enforced':
      return { status: 503, refusal: { code: 'egress_not_enforced', message } }
    case 'too_large':
      return { status: 413, refusal: { code: 'too_large', message } }
    default:
      return { status: 400, refusal: { code: 'invalid', message } }
  }
}
