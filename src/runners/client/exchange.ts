import type { Dispatcher } from 'undici'
import { AppError } from '../../core/index.ts'
import { identityHeaders } from '../../wire/index.ts'
import type { SandboxIdentity } from './types.ts'

export interface Exchange {
  pool: Dispatcher
  method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  path: string
  body?: string
  /** Null: whoever answers is heard. */
  expect: SandboxIdentity | null
}

export interface ExchangeHooks {
  /** The head of an answer from the right sandbox. */
  started(status: number): void
  data(chunk: Buffer): void
  /** The answer is complete. */
  done(): void
  /**
   * The exchange failed: `sent` is false when not a byte of the request was written, or when another sandbox
   * answered (`stale`), which refuses unread what is not meant for it.
   */
  failed(failure: { sent: boolean; stale: boolean; cause: Error }): void
}

export interface OpenExchange {
  /**
   * Whether a byte of the request may have been written. No accessor: V8 makes a map for every object literal that
   * has one, in old space and holding the closure, so that all of a call outlives its young collections.
   */
  wasSent(): boolean
  /** Ends it: `failed` is called. Before a byte was written, none will be. */
  abort(reason: Error): void
}

/** One request and its answer, never repeated. Exactly one of `done` and `failed` is called. */
export function exchange(request: Exchange, hooks: ExchangeHooks): OpenExchange {
  let control: Dispatcher.DispatchController | undefined
  let given: Error | undefined
  let stale = false
  const headers = ['content-type', 'application/json']
  if (request.expect !== null)
    headers.push(
      identityHeaders.sandboxUid,
      request.expect.sandboxUid,
      identityHeaders.generation,
      String(request.expect.generation),
    )
  request.pool.dispatch(
    { method: request.method, path: request.path, headers, body: request.body ?? null },
    {
      onRequestStart(controller) {
        // Called right before the request is written; aborting here still keeps every byte back.
        if (given === undefined) control = controller
        else controller.abort(given)
      },
      onResponseStart(controller, status, answer) {
        if (request.expect !== null && !isFrom(request.expect, answer)) {
          stale = true
          controller.abort(new Error('another sandbox answered'))
        } else hooks.started(status)
      },
      onResponseData(_, chunk) {
        hooks.data(chunk)
      },
      onResponseEnd() {
        hooks.done()
      },
      onResponseError(_, cause) {
        hooks.failed({ sent: control !== undefined && !stale, stale, cause })
      },
    },
  )
  return {
    wasSent: () => control !== undefined,
    abort(reason) {
      given = reason
      control?.abort(reason)
    },
  }
}

function isFrom(expect: SandboxIdentity, headers: Record<string, string | string[] | undefined>): boolean {
  return (
    headers[identityHeaders.sandboxUid] === expect.sandboxUid &&
    headers[identityHeaders.generation] === String(expect.generation)
  )
}

/** The error that a failed exchange is told with. */
export function toError(failure: { sent: boolean; stale: boolean; cause: Error }): AppError {
  const { sent, stale, cause } = failure
  const message = stale
    ? 'another sandbox answered at this address: the runner has been replaced'
    : sent
      ? 'the connection to the sandbox was lost before it answered'
      : 'the sandbox could not be reached'
  return new AppError('runner_failed', message, { cause, details: { sent, stale } })
}
