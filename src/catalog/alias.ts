import { sha256 } from '../core/index.ts'

const longest = 40
const hashLength = 8

/** Tools of our own; no source's tool may answer to these names. */
export const reservedAliases: readonly string[] = [
  'call_tool',
  'describe_tool',
  'get_call',
  'search_tools',
  'whoami',
]

/**
 * The name that clients see for a tool: `source_tool` in `[a-z0-9_]`, at most 40 characters. When that is too
 * long or already in `taken` (or reserved), it is shortened and ends in a hash of the exact identity. The same
 * arguments give the same alias, and it is never one of `taken`. It is stored once and never parsed back.
 */
export function aliasFor(sourceId: string, remoteName: string, taken: ReadonlySet<string>): string {
  const plain = `${words(sourceId) || 'source'}_${words(remoteName) || 'tool'}`
  const free = (alias: string) => !taken.has(alias) && !reservedAliases.includes(alias)
  if (plain.length <= longest && free(plain)) return plain
  for (let attempt = 0; ; attempt++) {
    const hash = sha256(JSON.stringify([sourceId, remoteName, attempt])).slice(0, hashLength)
    const alias = `${plain.slice(0, longest - hashLength - 1).replace(/_+$/, '')}_${hash}`
    if (free(alias)) return alias
  }
}

function words(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '')
}
