import { z } from 'zod'
import type { Route } from './route.ts'
import { routes } from './routes/all.ts'
import { errorBody } from './shapes.ts'

type Json = Record<string, unknown>

/** The OpenAPI 3.1 document, made from the very route table that is served. */
export function openApiDocument(): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    const path = `/admin/v1${route.path.replace(/:(\w+)/g, '{$1}')}`
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Toolcrib admin API',
      version: '1',
      description: 'Tokens, people, runners, tools, credentials and the audit record of one Toolcrib.',
    },
    security: [{ adminKey: [] }],
    paths,
    components: {
      securitySchemes: {
        adminKey: { type: 'http', scheme: 'bearer', description: 'An admin key, `tca_…`.' },
      },
    },
  }
}

function operation(route: Route): Json {
  return {
    operationId: route.operationId,
    summary: route.summary,
    parameters: [...parameters(route.params, 'path'), ...parameters(route.query, 'query')],
    ...(route.body === undefined
      ? {}
      : { requestBody: { required: false, content: json(schemaOf(route.body, 'input')) } }),
    responses: {
      [route.status]: { description: 'Done.', content: json(schemaOf(route.response, 'output')) },
      default: {
        description: 'Refused or failed; `error.code` says which (docs/reference/errors.md).',
        content: json(schemaOf(errorBody, 'output')),
      },
    },
  }
}

function parameters(schema: z.ZodType | undefined, place: 'path' | 'query'): Json[] {
  if (schema === undefined) return []
  const { properties = {}, required = [] } = schemaOf(schema, 'input') as {
    properties?: Record<string, Json>
    required?: string[]
  }
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: property,
  }))
}

/** Each schema stands whole where it is used: no references, so that a reader and a validator need nothing else. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, reused: 'inline' }) as Json
  return rest
}

function json(schema: Json): Json {
  return { 'application/json': { schema } }
}
