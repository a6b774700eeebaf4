import { z } from 'zod'

/** Sent by the toolhost with every answer, so that a reused address is noticed before a call is trusted to it. */
export const identityHeaders = {
  sandboxUid: 'x-toolcrib-sandbox',
  generation: 'x-toolcrib-generation',
} as const

/** The boot probe's verdict and what runs: `egress: 'open'` means that something outside answered directly. */
export const health = z.object({
  sandboxUid: z.string(),
  generation: z.number().int(),
  egress: z.enum(['enforced', 'open', 'not_probed']),
  /** What answered when `egress` is open, for the operator. */
  leak: z.string().optional(),
  sources: z.array(z.object({ id: z.string(), state: z.enum(['idle', 'starting', 'running', 'failed']) })),
  running: z.number().int(),
  queued: z.number().int(),
})
export type Health = z.infer<typeof health>

/** How to run a source inside the sandbox. `environment` holds placeholders only, never a credential. */
export const sourceLaunch = z.object({
  id: z.string(),
  command: z.string(),
  args: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
  /** The source's way out: proxy user `lease`, this password. */
  lease: z.string(),
  /** Changes whenever anything above does; the same digest again starts nothing. */
  digest: z.string(),
})
export type SourceLaunch = z.infer<typeof sourceLaunch>

export const callRequest = z.object({
  callId: z.string(),
  sourceId: z.string(),
  tool: z.string(),
  arguments: z.record(z.string(), z.unknown()),
  timeoutMs: z.number().int().positive(),
})
export type CallRequest = z.infer<typeof callRequest>

/** The answer to a PUT, and with `inspect` detail for admins: `stderr` is the source's own text, never for agents. */
export const sourceState = z.object({
  id: z.string(),
  state: z.enum(['idle', 'starting', 'running', 'failed']),
  /** Why it is `failed`, in our words. */
  message: z.string().nullable(),
  /** Processes started for it so far. */
  starts: z.number().int(),
  /** Lines on its standard output that were no JSON-RPC, in its present life. */
  strayLines: z.number().int(),
  /** The end of what its present or last process wrote to standard error; empty unless asked for. */
  stderr: z.string(),
})
export type SourceState = z.infer<typeof sourceState>

/**
 * How a cancelled call ended. `never_started`: it was still queued. `source_answered`: the source ended it itself.
 * `group_ended`: its process group was ended and proven empty. `left_to_source`: other calls run on the same
 * source, which was told; its group is ended once they are through.
 */
export const cancelled = z.object({
  callId: z.string(),
  how: z.enum(['never_started', 'finished', 'source_answered', 'group_ended', 'left_to_source']),
})
export type Cancelled = z.infer<typeof cancelled>

/** Definitions exactly as the source gave them: schemas verbatim, unknown members kept. */
const toolDefinition = z.looseObject({ name: z.string() })
export type ToolDefinition = z.infer<typeof toolDefinition>
export const toolList = z.object({ tools: z.array(toolDefinition) })

/**
 * One line of a call's answer. `accepted` comes before anything runs: a call that ends before it was never
 * started and may be tried elsewhere; one that ends after it without a last frame is `unknown` (invariant 7).
 */
export const CallFrame = z.discriminatedUnion('type', [
  z.object({ type: z.literal('accepted') }),
  z.object({
    type: z.literal('progress'),
    progress: z.number(),
    total: z.number().optional(),
    message: z.string().optional(),
  }),
  /** The source's answer to `tools/call`, verbatim. */
  z.object({ type: z.literal('result'), result: z.record(z.string(), z.unknown()) }),
  /** The source's JSON-RPC error. */
  z.object({ type: z.literal('rpc_error'), code: z.number(), message: z.string() }),
  /** The call ended another way; `message` is ours and safe to show. */
  z.object({
    type: z.literal('failed'),
    code: z.enum([
      'source_crashed',
      'source_failed',
      'source_invalid_output',
      'call_timed_out',
      'call_cancelled',
      'too_large',
    ]),
    message: z.string(),
  }),
])
export type CallFrame = z.infer<typeof CallFrame>

/** `unknown_source` asks for a `PUT /sources/:id` and the same request again; nothing has run. */
export const Refusal = z.object({
  code: z.enum([
    'unknown_source',
    'busy',
    'draining',
    'source_failed',
    'invalid',
    'not_found',
    'too_large',
    /** The request names another sandbox or generation than this one. */
    'stale',
    /** The boot probe reached the outside: nothing runs here. */
    'egress_not_enforced',
  ]),
  message: z.string(),
})
export type Refusal = z.infer<typeof Refusal>
export type RefusalCode = Refusal['code']
