import type { Caller } from '../access/index.ts'
import type { CallId } from '../core/index.ts'

export interface CallRequest {
  caller: Caller
  /** Null for `/mcp`. */
  toolkit: string | null
  alias: string
  arguments: Record<string, unknown>
  /** Name and version the client gave for itself, at most 100 characters. */
  client: string | null
  /**
   * Set when the caller was only recalled (`Access.recall`). The statement that writes the row then proves the token.
   * Where none is written, for whatever reason, nothing has been done or told: the call is carried again, from the
   * beginning, for the caller that `confirm` proves. What `confirm` throws is thrown.
   */
  recalled?: { secretHash: string; confirm(): Promise<Caller> }
}

export interface CallHooks {
  signal: AbortSignal
  /** Progress of the tool itself. */
  progress(progress: number, total: number | undefined, message: string | undefined): void
  /** What the call waits for, before the tool runs: a sentence for the person. */
  waiting(sentence: string): void
  /** The caller is proven and the row stands. */
  begun?(): void
}

/** What a client gets: always a tool result, so that the model can read why. `isError` results name cause and call id. */
export interface CallResult {
  callId: CallId
  /** An MCP `CallToolResult`; a source's own is passed through verbatim. */
  result: Record<string, unknown>
}

/** A tool as a client sees it: the accepted definition under its alias. */
export interface VisibleTool {
  alias: string
  definition: Record<string, unknown>
}

export interface Calls {
  /** Tools this caller may call here, ordered by alias. Throws `not_found` for a toolkit that does not exist. */
  list(caller: Caller, toolkit: string | null): Promise<VisibleTool[]>
  /** Carries one call from request to recorded outcome. Throws `tool_unknown` only; all else is a result. */
  call(request: CallRequest, hooks: CallHooks): Promise<CallResult>
}
