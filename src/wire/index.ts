/**
 * wire: what the gateway and the toolhost say to each other, and nothing else. Shapes only: HTTP over a unix
 * socket (local) or TLS (Kubernetes), one NDJSON line per frame of a call. Every answer of the toolhost carries
 * `sandboxUid` and `generation`, and the gateway refuses an answer that names another sandbox (invariant 13).
 *
 *   GET    /health              → Health                        once this answers, the runner is ready
 *   PUT    /sources/:id         → SourceState                   SourceLaunch; starts nothing that already runs the same
 *   GET    /tools?source=:id    → ToolList                      starts the source when it is not running
 *   POST   /calls               → NDJSON of CallFrame           CallRequest; closing it cancels the call
 *   DELETE /calls/:id           → Cancelled                     TERM, then KILL, then proven empty
 *   DELETE /                    → 202                           drain: refuse new calls, end the sources, exit
 * Refusals are `Refusal` with status 4xx or 503, always before anything has run.
 */
export {
  CallFrame,
  type CallRequest,
  callRequest,
  type Health,
  health,
  identityHeaders,
  Refusal,
  type RefusalCode,
  type SourceLaunch,
  sourceLaunch,
  type ToolDefinition,
  type ToolList,
  toolList,
} from './shapes.ts'
