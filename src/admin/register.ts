import { z } from 'zod'
import { AppError } from '../core/index.ts'
import type { HttpServer } from '../http/index.ts'
import type { AdminDeps } from './deps.ts'
import { openApiDocument } from './openapi.ts'
import type { Asker, Route } from './route.ts'
import { routes } from './routes/all.ts'

/**
 * Adds the admin API under `/admin/v1`. Every route but `openapi.json` asks for an admin key before it looks at
 * anything else of the request; whatever is asked is parsed before, and cut to its schema after.
 */
export function registerAdmin(server: HttpServer, deps: AdminDeps): void {
  const document = openApiDocument()
  server.get('/admin/v1/openapi.json', () => document)

  for (const route of routes) {
    server.route({
      method: route.method,
      url: `/admin/v1${route.path}`,
      // Before the body is read: strangers cannot make the server hold one.
      onRequest: async (request, reply) => {
        void reply.header('cache-control', 'no-store')
        const key = bearer(request.headers.authorization)
        const { name } = await deps.adminKeys.verify(key, request.ip).catch((error: unknown) => {
          if (error instanceof AppError && error.status === 401) {
            void reply.header('www-authenticate', 'Bearer realm="toolcrib admin"')
          }
          throw error
        })
        request.adminAsker = { by: `admin key ${name}` }
      },
      handler: async (request, reply) => {
        const asker = request.adminAsker
        if (asker === undefined) throw new AppError('unauthenticated', 'An admin key is needed.')
        const input = {
          params: parse(route.params, request.params, 'path'),
          query: parse(route.query ?? noQuery, request.query, 'query'),
          body: parse(route.body, request.body ?? {}, 'body'),
        }
        return await reply.status(route.status).send(await answer(route, deps, input, asker))
      },
    })
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    adminAsker?: Asker
  }
}

const noQuery = z.strictObject({})

async function answer(route: Route, deps: AdminDeps, input: unknown, asker: Asker): Promise<unknown> {
  const result = await route.run(deps, input, asker)
  const parsed = route.response.safeParse(result)
  if (parsed.success) return parsed.data
  throw new AppError(
    'internal',
    'The answer was not what it should be; an admin finds the cause in the log.',
    {
      cause: parsed.error,
    },
  )
}

function bearer(header: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(header ?? '')?.[1]
}

/** Throws `invalid_input` that names every wrong member, never its value: it may be a secret. */
function parse(schema: z.ZodType | undefined, value: unknown, place: string): unknown {
  if (schema === undefined) return undefined
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => ({
    at: [place, ...issue.path].join('.'),
    problem: issue.message,
  }))
  const sentence = problems.map(({ at, problem }) => `${at}: ${problem}`).join('; ')
  throw new AppError('invalid_input', `The request is not understood. ${sentence}.`, {
    details: { problems },
  })
}
