import { parsePattern } from './pattern.ts'
import type { PolicyRule } from './types.ts'

/** What exists. A source whose tools were never listed has no entry in `tools` and is not judged by tool name. */
export interface Known {
  sources: readonly string[]
  tools: readonly { sourceId: string; remoteName: string }[]
}

/** One thing wrong with what was written: where, what, and what would work. */
export interface PolicyProblem {
  /** Like a path in the configuration: `rules[2].tools`, `toolkits.support.tools[0]`. */
  where: string
  message: string
}

/**
 * Every pattern that can match nothing, all at once. A rule that never matches is a dead `block`, which is worse
 * than an error. Call it before anything is written.
 */
export function checkRules(
  policy: {
    rules: readonly PolicyRule[]
    toolkits?: Readonly<Record<string, { tools: readonly string[] }>> | undefined
  },
  known: Known,
): PolicyProblem[] {
  const written = [
    ...policy.rules.map((rule, index) => ({ where: `rules[${index}].tools`, pattern: rule.tools })),
    ...Object.entries(policy.toolkits ?? {}).flatMap(([slug, toolkit]) =>
      toolkit.tools.map((pattern, index) => ({ where: `toolkits.${slug}.tools[${index}]`, pattern })),
    ),
  ]
  return written.flatMap(({ where, pattern }) => {
    const message = problemOf(pattern, known)
    return message === undefined ? [] : [{ where, message }]
  })
}

function problemOf(text: string, known: Known): string | undefined {
  const pattern = parsePattern(text)
  if (pattern === undefined)
    return `"${text}" is not a pattern; use "source.tool", "source.*" or "*" with the source's id and the tool's own name`
  if (pattern.kind === 'all') return undefined
  if (!known.sources.includes(pattern.sourceId))
    return `"${text}" matches nothing: there is no source "${pattern.sourceId}"; ${listed('sources', known.sources)}`
  if (pattern.kind === 'source') return undefined
  const names = known.tools
    .filter((tool) => tool.sourceId === pattern.sourceId)
    .map((tool) => tool.remoteName)
  if (names.length === 0 || names.includes(pattern.remoteName)) return undefined
  return `"${text}" matches nothing: the source "${pattern.sourceId}" has no tool "${pattern.remoteName}"; ${listed('its tools', names)}`
}

function listed(what: string, names: readonly string[]): string {
  if (names.length === 0) return `no ${what} are configured`
  const shown = names.toSorted().slice(0, 20)
  return `${what}: ${shown.join(', ')}${names.length > shown.length ? ` and ${names.length - shown.length} more` : ''}`
}
