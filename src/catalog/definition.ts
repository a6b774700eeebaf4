import { AppError, deeperThan, digestJson } from '../core/index.ts'
import type { ToolDefinition } from '../wire/index.ts'
import { withoutHeaderAnnotations } from './header-annotations.ts'

const limits = { tools: 500, bytes: 2 * 1024 * 1024, definitionBytes: 128 * 1024, depth: 64, name: 128 }

export interface FoundDefinitions {
  /** Usable definitions, ordered by name: what comes first gets the shorter alias. */
  found: ToolDefinition[]
  /** Tools that cannot be offered; shown to the operator, never dropped in silence. */
  refused: { name: string; reason: string }[]
}

/**
 * Judges what a source listed. One bad tool is refused alone; what makes the whole list doubtful (too many, too
 * large, one name twice) throws `source_invalid_output`, so that the discovery changes nothing.
 */
export function readDefinitions(listed: readonly ToolDefinition[]): FoundDefinitions {
  if (listed.length > limits.tools)
    throw invalid(`it lists ${listed.length} tools; at most ${limits.tools} are taken from one source`)
  if (listed.some((tool) => deeperThan(tool, limits.depth)))
    throw invalid(`a definition nests deeper than ${limits.depth} levels`)
  if (Buffer.byteLength(JSON.stringify(listed)) > limits.bytes)
    throw invalid(`its definitions are larger than ${limits.bytes / 1024 / 1024} MiB together`)
  const names = listed.map((tool) => tool.name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw invalid(`it lists two tools with the name "${printable(twice)}"`)

  const found: ToolDefinition[] = []
  const refused: FoundDefinitions['refused'] = []
  for (const tool of listed) {
    const reason = problemOf(tool)
    if (reason === undefined) found.push(withoutHeaderAnnotations(tool))
    else refused.push({ name: printable(tool.name), reason })
  }
  found.sort((a, b) => (a.name < b.name ? -1 : 1))
  return { found, refused }
}

/** Where a source may send data. In warn mode that is anywhere for a time, which is accepted as such, whatever the time. */
export interface Reach {
  egress?: unknown
  egress_warn_until?: unknown
}

export function isAnywhere(source: Reach): boolean {
  return source.egress_warn_until !== undefined
}

export function destinationDigest(source: Reach): string {
  const egress = source.egress ?? []
  return digestJson(isAnywhere(source) ? { anywhere: true, egress } : egress)
}

/** Stands for everything that a person accepts: the whole definition and where the source may send data. */
export function definitionDigest(definition: object, source: Reach): string {
  return digestJson({ definition, destination: destinationDigest(source) })
}

function problemOf(tool: ToolDefinition): string | undefined {
  if (tool.name.length < 1 || tool.name.length > limits.name)
    return `its name has ${tool.name.length} characters; use 1 to ${limits.name}`
  if (printable(tool.name) !== tool.name) return 'its name has control characters'
  const schema = tool['inputSchema']
  if (schema === null || typeof schema !== 'object' || Array.isArray(schema))
    return 'its inputSchema is not an object'
  if (Buffer.byteLength(JSON.stringify(tool)) > limits.definitionBytes)
    return `its definition is larger than ${limits.definitionBytes / 1024} KiB`
  return undefined
}

function invalid(what: string): AppError {
  return new AppError('source_invalid_output', `The source cannot be discovered: ${what}.`)
}

/** A foreign name as it may be shown and stored: no control characters, no lone surrogates, not endless. */
function printable(name: string): string {
  return name
    .toWellFormed()
    .replace(/\p{Cc}/gu, '?')
    .slice(0, limits.name)
}
