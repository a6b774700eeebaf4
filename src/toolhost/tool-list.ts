import { AppError } from '../core/index.ts'
import type { ToolDefinition } from '../wire/index.ts'

const bounds = { pages: 100, tools: 2_000 }

/** All pages of `tools/list`, definitions as the source gave them. Throws `source_failed` on anything else. */
export async function readTools(
  name: string,
  ask: (method: string, params: object) => Promise<Record<string, unknown>>,
): Promise<ToolDefinition[]> {
  const tools: ToolDefinition[] = []
  const names = new Set<string>()
  let cursor: string | undefined
  for (let page = 0; page < bounds.pages; page += 1) {
    const result = await ask('tools/list', cursor === undefined ? {} : { cursor })
    if (!Array.isArray(result['tools'])) throw invalid(name, 'without a list of tools')
    for (const tool of result['tools'] as unknown[]) {
      if (!isDefinition(tool)) throw invalid(name, 'with a tool that has no name')
      if (names.has(tool.name)) throw invalid(name, 'with two tools of one name')
      names.add(tool.name)
      tools.push(tool)
    }
    if (tools.length > bounds.tools) throw invalid(name, `with more than ${bounds.tools} tools`)
    const next = result['nextCursor']
    if (typeof next !== 'string' || next === '') return tools
    cursor = next
  }
  throw invalid(name, `with more than ${bounds.pages} pages`)
}

function isDefinition(tool: unknown): tool is ToolDefinition {
  return typeof tool === 'object' && tool !== null && typeof (tool as { name?: unknown }).name === 'string'
}

function invalid(name: string, how: string): AppError {
  return new AppError('source_failed', `${name} answered "tools/list" ${how}`)
}
