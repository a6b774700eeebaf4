/** Which tools a pattern means; identity is the source's id and the tool's remote name, never an alias. */
export type Pattern =
  | { kind: 'all' }
  | { kind: 'source'; sourceId: string }
  | { kind: 'tool'; sourceId: string; remoteName: string }

/**
 * Reads `source.tool`, `source.*` or `*`. Source ids have no dot, so that the first dot is the border and remote
 * names may have dots. `undefined` for any other text, which then matches nothing.
 */
export function parsePattern(text: string): Pattern | undefined {
  if (text === '*') return { kind: 'all' }
  const dot = text.indexOf('.')
  if (dot < 1 || dot === text.length - 1) return undefined
  const sourceId = text.slice(0, dot)
  const rest = text.slice(dot + 1)
  if (!/^[a-z0-9-]+$/.test(sourceId)) return undefined
  if (rest === '*') return { kind: 'source', sourceId }
  return { kind: 'tool', sourceId, remoteName: rest }
}

/** Whether the pattern `text` covers this tool. */
export function matches(text: string, tool: { sourceId: string; remoteName: string }): boolean {
  const pattern = parsePattern(text)
  if (pattern === undefined) return false
  if (pattern.kind === 'all') return true
  if (pattern.sourceId !== tool.sourceId) return false
  return pattern.kind === 'source' || pattern.remoteName === tool.remoteName
}
