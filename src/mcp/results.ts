import { SERVER_INFO_META_KEY } from '@modelcontextprotocol/server'
import { isRecord } from '../core/index.ts'

export type Era = 'modern' | 'legacy'

/**
 * A source's result as a client of this era can read it. Everything passes as it is, but for what the era has no
 * word for: a 2025 client takes only objects as `structuredContent`, and nobody can answer a source that asks
 * for input in the middle of a call.
 */
export function shapeResult(result: Record<string, unknown>, era: Era): Record<string, unknown> {
  const { resultType } = result
  if (resultType !== undefined && resultType !== 'complete')
    return errorResult(
      'The tool asked for more input in the middle of a call, which this server does not pass on.',
    )
  let shaped = result
  if (!Array.isArray(shaped['content'])) shaped = { ...shaped, content: [] }
  if (era === 'modern') return shaped
  if (resultType !== undefined) {
    const { resultType: _, ...rest } = shaped
    shaped = rest
  }
  const structured = shaped['structuredContent']
  if (structured === undefined || isRecord(structured)) return shaped
  return { ...shaped, structuredContent: { result: structured } }
}

/** What the SDK adds to every 2026 result, for answers that do not pass through it. */
export function stampModern(
  result: Record<string, unknown>,
  serverInfo: { name: string; version: string },
): Record<string, unknown> {
  const typed = result['resultType'] === undefined ? { ...result, resultType: 'complete' } : result
  const meta = typed['_meta']
  if (meta === undefined) return { ...typed, _meta: { [SERVER_INFO_META_KEY]: serverInfo } }
  if (!isRecord(meta) || meta[SERVER_INFO_META_KEY] !== undefined) return typed
  return { ...typed, _meta: { ...meta, [SERVER_INFO_META_KEY]: serverInfo } }
}

export function errorResult(text: string): Record<string, unknown> {
  return { content: [{ type: 'text', text }], isError: true }
}
