/**
 * calls: the way of one tool call, from request to recorded outcome: resolve, decide, validate, write the row,
 * decide again, run, record. Every call has exactly one outcome, and one that may have started is never sent
 * again. What it refuses, it refuses as a result that says why and what would help.
 */
export { type CallsRoom, createCalls } from './calls.ts'

export { startDiscovery } from './discovery.ts'
export { createCallReaper, reapLost } from './reaper.ts'
export { sourceToRun } from './source-to-run.ts'
export type { CallHooks, CallRequest, Calls, VisibleTool } from './types.ts'
