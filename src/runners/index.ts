/**
 * runners: one persistent sandbox per principal. It wakes, adopts, stops and watches sandboxes through a driver,
 * keeps their state in PostgreSQL so that any number of replicas agree, and carries a call to the toolhost
 * inside, at most once. It never decides whether a call may run, and it deletes nothing when in doubt.
 */

export { createToolhostClient } from './client/index.ts'
export type {
  Isolation,
  RunnerDriver,
  SandboxFacts,
  SandboxPhase,
  SandboxSpec,
} from './driver.ts'
export { detectIsolation } from './local/detect.ts'
export { createLocalDriver } from './local/driver.ts'
export type { LocalDriverOptions } from './local/options.ts'
export { endUnrecorded } from './local/unrecorded.ts'
export { createRunners } from './manager.ts'
export type { RunnersDeps, RunnerTimings } from './options.ts'
export type { SandboxIdentity, ToolhostClient } from './toolhost.ts'

export type { RunnerAnswer, RunnerCall, RunnerCallHooks, Runners, RunnerView, SourceToRun } from './types.ts'
