import type { Caller } from '../access/index.ts'
import type { Catalog } from '../catalog/index.ts'
import { AppError } from '../core/index.ts'
import { decide } from '../policy/index.ts'
import type { VisibleTool } from './types.ts'
import { whoami, whoamiDefinition } from './whoami.ts'

/**
 * The tools that a caller may call here, ordered by alias, `whoami` among them. Throws `not_found` for a toolkit
 * that does not exist and `forbidden` for one that the token does not open.
 */
export function visibleTools(
  catalog: Catalog,
  { caller, toolkit: slug }: { caller: Pick<Caller, 'toolkit'>; toolkit: string | null },
): VisibleTool[] {
  const toolkit = slug === null ? null : catalog.toolkits.get(slug)
  if (toolkit === undefined)
    throw new AppError(
      'not_found',
      `There is no toolkit "${(slug ?? '').slice(0, 40)}"; ask an admin for its name.`,
    )
  if (caller.toolkit !== null && caller.toolkit !== slug)
    throw new AppError(
      'forbidden',
      `This token opens only the toolkit "${caller.toolkit}"; use its address or ask for another token with /mcp-token in Slack.`,
    )
  const tools: VisibleTool[] = [{ alias: whoami, definition: whoamiDefinition }]
  for (const tool of catalog.tools.values()) {
    const source = catalog.sources.get(tool.sourceId)
    const { effect } = decide({ tool, source, toolkit, rules: catalog.rules, caller })
    if (effect === 'allow') tools.push({ alias: tool.alias, definition: tool.definition })
  }
  return tools.sort((a, b) => (a.alias < b.alias ? -1 : 1))
}
