import { isRecord } from '../core/index.ts'
import type { ToolDefinition } from '../wire/index.ts'

const annotation = 'x-mcp-header'
const oneSchema = [
  'additionalProperties',
  'contains',
  'else',
  'if',
  'items',
  'not',
  'propertyNames',
  'then',
  'unevaluatedItems',
  'unevaluatedProperties',
]
const schemaList = ['allOf', 'anyOf', 'items', 'oneOf', 'prefixItems']
const schemaMap = ['$defs', 'definitions', 'dependentSchemas', 'patternProperties', 'properties']

/**
 * The definition without `x-mcp-header` annotations in its input schema, all else verbatim. The annotation would
 * oblige us to compare an HTTP header with each argument, and means nothing to a source behind stdio
 * (docs/decisions/0010). A property that merely has this name is kept.
 */
export function withoutHeaderAnnotations(tool: ToolDefinition): ToolDefinition {
  if (!JSON.stringify(tool['inputSchema']).includes(annotation)) return tool
  return { ...tool, inputSchema: strip(tool['inputSchema']) }
}

function strip(schema: unknown): unknown {
  if (!isRecord(schema)) return schema
  return Object.fromEntries(
    Object.entries(schema)
      .filter(([keyword]) => keyword !== annotation)
      .map(([keyword, value]) => [keyword, stripKeyword(keyword, value)]),
  )
}

function stripKeyword(keyword: string, value: unknown): unknown {
  if (Array.isArray(value)) return schemaList.includes(keyword) ? value.map(strip) : value
  if (oneSchema.includes(keyword)) return strip(value)
  if (schemaMap.includes(keyword) && isRecord(value))
    return Object.fromEntries(Object.entries(value).map(([name, schema]) => [name, strip(schema)]))
  return value
}
