import type {
  CallFrame,
  CallRequest,
  Health,
  RefusalCode,
  SourceLaunch,
  ToolDefinition,
} from '../wire/index.ts'
import type { ToolhostDial } from './driver.ts'

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

/** How a call ended. `unknown`: bytes were sent, `accepted` may have been on its way, and no last frame came. */
export type ToolhostAnswer =
  | Extract<CallFrame, { type: 'result' | 'rpc_error' | 'failed' }>
  | { type: 'unknown'; message: string }
  | Refused

export interface ToolhostRequest {
  signal: AbortSignal
  expect: SandboxIdentity
}

/**
 * What the manager needs of the way to a toolhost; `client/` implements it over `wire/`. Where a method throws,
 * it throws an `AppError` with `details.sent`: `false` means certainly nothing was processed (no connection, or
 * another identity answered), so that the request may be made elsewhere; anything else is doubt.
 */
export interface ToolhostClient {
  /** What answers at `dial`, whoever it is: the manager compares the identity itself. */
  health(dial: ToolhostDial, options: { signal: AbortSignal }): Promise<Health>
  /** Gives a source's command and lease; the digest that it already runs restarts nothing and keeps its lease. */
  putSource(
    dial: ToolhostDial,
    source: SourceLaunch,
    options: ToolhostRequest,
  ): Promise<{ type: 'ok' } | Refused>
  listTools(
    dial: ToolhostDial,
    sourceId: string,
    options: ToolhostRequest,
  ): Promise<{ type: 'ok'; tools: ToolDefinition[] } | Refused>
  /**
   * Sends the call at most once. Aborting cancels it inside: the promise settles when its processes are gone, or
   * as `unknown`. Throws only with `details.sent === false`.
   */
  call(
    dial: ToolhostDial,
    request: CallRequest,
    options: ToolhostRequest & { onFrame: (frame: CallFrame) => void },
  ): Promise<ToolhostAnswer>
  /** Asks the toolhost to refuse new calls, end its sources and exit. */
  drain(dial: ToolhostDial, options: ToolhostRequest): Promise<void>
}
