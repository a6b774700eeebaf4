import type {
  CallFrame,
  CallRequest,
  Cancelled,
  Health,
  RefusalCode,
  SourceLaunch,
  SourceState,
  ToolDefinition,
} from '../../wire/index.ts'
import type { ToolhostDial } from '../driver.ts'

/** The life that must answer; an answer that names another is refused before it is used (invariant 13). */
export interface SandboxIdentity {
  sandboxUid: string
  generation: number
}

/** The toolhost said no before anything ran; the same request may be sent again. */
export interface Refused {
  type: 'refused'
  code: RefusalCode
  message: string
}

/** How a call ended. `unknown`: it was sent, and no last frame came; it may have run (invariant 7). */
export type ToolhostAnswer =
  | Extract<CallFrame, { type: 'result' | 'rpc_error' | 'failed' }>
  | { type: 'unknown'; message: string }
  | Refused

export interface ToolhostRequest {
  signal: AbortSignal
  expect: SandboxIdentity
}

/**
 * The gateway's side of `wire/`. Where a method throws, it throws an `AppError` with `details.sent`: `false` means
 * that certainly nothing was processed (no connection, or another sandbox answered) and the request may be made
 * elsewhere; `true` is doubt. `details.stale` is true when another sandbox or generation answered. A dial is
 * used as it is given and never released.
 */
export interface ToolhostClient extends AsyncDisposable {
  /** What answers at `dial`, whoever it is: the caller compares the identity. */
  health(dial: ToolhostDial, options: { signal: AbortSignal }): Promise<Health>
  putSource(
    dial: ToolhostDial,
    source: SourceLaunch,
    options: ToolhostRequest,
  ): Promise<{ type: 'ok' } | Refused>
  /** State of a source and the end of its standard error, for admins only: that text is the source's own. */
  inspectSource(
    dial: ToolhostDial,
    sourceId: string,
    options: ToolhostRequest,
  ): Promise<{ type: 'ok'; source: SourceState } | Refused>
  listTools(
    dial: ToolhostDial,
    sourceId: string,
    options: ToolhostRequest,
  ): Promise<{ type: 'ok'; tools: ToolDefinition[] } | Refused>
  /**
   * Sends the call at most once. Aborting cancels it inside: the promise settles when its processes are gone, or
   * as `unknown` when that cannot be learnt in five seconds. Throws only with `details.sent === false`.
   */
  call(
    dial: ToolhostDial,
    request: CallRequest,
    options: ToolhostRequest & { onFrame: (frame: CallFrame) => void },
  ): Promise<ToolhostAnswer>
  /** Cancels a call that another request is waiting for; `refused` with `not_found` when it is over. */
  cancel(
    dial: ToolhostDial,
    callId: string,
    options: ToolhostRequest,
  ): Promise<{ type: 'ok'; cancelled: Cancelled } | Refused>
  /** Asks the toolhost to refuse new calls, end its sources and exit. */
  drain(dial: ToolhostDial, options: ToolhostRequest): Promise<void>
}
