import type { CallId, PrincipalId, RunnerId } from '../core/index.ts'
import type { CallFrame, SourceLaunch, ToolDefinition } from '../wire/index.ts'
import type { Isolation } from './driver.ts'

/** A source as the runner needs it; its lease is made by this room, per source and generation. */
export type SourceToRun = Omit<SourceLaunch, 'lease' | 'digest'> & {
  /** How the placeholders begin that `environment` may ask for by `${placeholder:NAME}`, by credential. */
  prefixes?: Readonly<Record<string, string>>
}

export interface RunnerCall {
  callId: CallId
  principalId: PrincipalId
  source: SourceToRun
  tool: string
  arguments: Record<string, unknown>
  timeoutMs: number
}

export interface RunnerCallHooks {
  /** Aborting cancels the call; its process group is gone before the promise settles. */
  signal: AbortSignal
  progress(frame: Extract<CallFrame, { type: 'progress' }>): void
  /** A sentence about what the call waits for ("starting your sandbox: booting"), at every change. */
  waiting(sentence: string): void
  /**
   * Called once with the runner's life that will execute the call, before a byte is sent to it. If it throws or
   * rejects, nothing is sent: this is where `calls/` decides again and writes the row.
   */
  sending(life: { runnerId: RunnerId; generation: number }): Promise<void>
  /**
   * Called when the life given to `sending` proved gone before anything of the call reached it, and another one
   * will execute it: a row that names the generation is to be put right. If it rejects, nothing is sent.
   */
  moved?(life: { runnerId: RunnerId; generation: number }): Promise<void>
}

/** How a call that reached a runner ended. `unknown`: it may have run, and will not be sent again (invariant 7). */
export type RunnerAnswer =
  | Extract<CallFrame, { type: 'result' | 'rpc_error' | 'failed' }>
  | { type: 'unknown'; message: string }

export interface RunnerView {
  id: RunnerId
  principalId: PrincipalId
  principalName: string
  state: string
  phase: string | null
  generation: number
  isolation: Isolation | null
  holds: number
  lastActivityAt: Date
  stateSince: Date
  /** Why it is in this state, in one sentence. */
  message: string | null
}

export interface Runners {
  /** Throws `runner_*`, `egress_not_enforced` or `call_cancelled` when nothing was sent. */
  call(call: RunnerCall, hooks: RunnerCallHooks): Promise<RunnerAnswer>
  /** Whether this replica holds the principal's sandbox, ready for a call right now; asks nobody. */
  awake(principalId: PrincipalId): boolean
  /** The source's tools as its own process tells them, from the sandbox of `principalId`. */
  listTools(principalId: PrincipalId, source: SourceToRun, signal: AbortSignal): Promise<ToolDefinition[]>
  /** Starts the sandbox in the background and, inside it, these sources; never throws. */
  prewarm(principalId: PrincipalId, sources: SourceToRun[]): void
  list(): Promise<RunnerView[]>
  find(principalId: PrincipalId): Promise<RunnerView | undefined>
  /** Ends the sandbox, keeps the home; calls in flight end as `unknown`. The next call wakes it. */
  stop(principalId: PrincipalId, cause: string): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
