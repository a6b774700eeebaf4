import type { VisibleTool } from '../calls/index.ts'
import { isRecord } from '../core/index.ts'
import type { Era } from './results.ts'
import { RpcError, rpcCodes } from './rpc.ts'

interface Page {
  tools: Record<string, unknown>[]
  nextCursor?: string
}

/**
 * One page of the tools, in the order of their aliases. A cursor names the last alias of the page before it, so
 * that a list that changes in between neither repeats nor skips what stayed.
 */
export function listPage(visible: VisibleTool[], cursor: unknown, pageSize: number, era: Era): Page {
  const after = cursor === undefined ? undefined : readCursor(cursor)
  const rest = after === undefined ? visible : visible.filter((tool) => tool.alias > after)
  const page = rest.slice(0, pageSize)
  const last = page.at(-1)
  return {
    tools: page.map((tool) => wireTool(tool, era)),
    ...(last === undefined || rest.length <= pageSize ? {} : { nextCursor: writeCursor(last.alias) }),
  }
}

function writeCursor(alias: string): string {
  return Buffer.from(`after:${alias}`).toString('base64url')
}

function readCursor(cursor: unknown): string {
  const text = typeof cursor === 'string' ? Buffer.from(cursor, 'base64url').toString() : ''
  if (!text.startsWith('after:') || writeCursor(text.slice(6)) !== cursor)
    throw new RpcError(rpcCodes.invalidParams, 'This cursor is not one of ours; list again without a cursor.')
  return text.slice(6)
}

/**
 * The definition under its alias, otherwise as the catalog has it, with one exception: a 2025 client rejects the
 * whole list for one `outputSchema` whose root is not an object, so there that schema is left out.
 */
function wireTool({ alias, definition }: VisibleTool, era: Era): Record<string, unknown> {
  const { outputSchema } = definition
  const tool = { ...definition, name: alias }
  if (era === 'legacy' && isRecord(outputSchema) && outputSchema['type'] !== 'object')
    Reflect.deleteProperty(tool, 'outputSchema')
  return tool
}
