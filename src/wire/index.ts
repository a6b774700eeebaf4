/**
 * wire: what the gateway and the toolhost say to each other, and nothing else. Shapes only: HTTP over a unix
 * socket (local) or TLS (Kubernetes), one NDJSON line per frame of a call. Every answer of the toolhost carries
 * `sandboxUid` and `generation`, and the gateway refuses an answer that names another sandbox (invariant 13); a
 * request may carry the same two headers, and then a toolhost that is another one refuses it unread (`stale`).
 *
 *   GET    /health              → Health                        once this answers, the runner is ready
 *   PUT    /sources/:id         → SourceState                   SourceLaunch; starts nothing that already runs the same
 *   GET    /sources/:id         → SourceState                   with the end of its standard error, for admins
 *   GET    /tools?source=:id    → ToolList                      starts the source when it is not running
 *   POST   /calls               → NDJSON of CallFrame           CallRequest; closing it cancels the call
 *   DELETE /calls/:id           → Cancelled                     TERM, then KILL, then proven empty
 *   DELETE /                    → 202                           drain: refuse new calls, end the sources, exit
 * Refusals are `Refusal` with status 4xx or 503, always before anything has run.
 */

export {
  type ToolhostSettings,
  type ToolhostSettingsInput,
  toolhostSettings,
  toolhostSettingsVariable,
} from './settings.ts'
export {
  CallFrame,
  type CallRequest,
  type Cancelled,
  callRequest,
  cancelled,
  type Health,
  health,
  identityHeaders,
  Refusal,
  type RefusalCode,
  type SourceLaunch,
  type SourceState,
  sourceLaunch,
  sourceState,
  type ToolDefinition,
  toolList,
} from './shapes.ts'
