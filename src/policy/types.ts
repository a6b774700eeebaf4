/** What a rule says about the tools it matches, from the loosest to the strictest. */
export type Effect = 'allow' | 'ask' | 'block'

/** An organisation rule; `tools` is a pattern (see `parsePattern`). */
export interface PolicyRule {
  tools: string
  do: Effect
  reason?: string | undefined
}

/** As much of a tool as a decision needs. */
export interface PolicyTool {
  sourceId: string
  remoteName: string
  acceptedDigest: string | null
  definitionDigest: string
  available: boolean
  enabled: boolean
}

export interface Question {
  /** `undefined`: no such tool. */
  tool: PolicyTool | undefined
  /** The tool's source; `undefined`: no such source. */
  source: { id: string; enabled: boolean } | undefined
  /** Where the call came in: null for `/mcp`, `undefined` for a toolkit that does not exist. */
  toolkit: { slug: string; tools: readonly string[] } | null | undefined
  rules: readonly PolicyRule[]
  /** `toolkit`: the one that the caller's token is bound to, null when it is bound to none. */
  caller: { toolkit: string | null }
}

/** `rule` names what decided, for records; `reason` is one sentence for the person who meets it. */
export interface Decision {
  effect: Effect
  rule: string
  reason: string
}

/** One layer's own verdict, for `explain`. */
export interface LayerVerdict extends Decision {
  layer: 'tool' | 'organisation' | 'toolkit' | 'token'
}
