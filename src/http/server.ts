import { type FastifyInstance, fastify } from 'fastify'
import { AppError, createTrouble, type Log, newId, toAppError } from '../core/index.ts'

export interface HttpOptions {
  log: Log
  /** Largest body in bytes; larger is answered 413. */
  bodyLimit: number
  /** How long the head and body of a request may take, in ms; a call's answer may take as long as it needs. */
  requestTimeoutMs: number
  /** Addresses whose `X-Forwarded-*` headers are believed; none by default. */
  trustedProxies: string[]
  /** What `/readyz` asks; it answers 503 with the reason when this throws `unavailable`, and the log tells of each change. */
  ready: () => Promise<void>
}

export type HttpServer = FastifyInstance

/** A server without routes. Errors are answered `{ error: { code, message, details } }` with the code's status. */
export function createHttpServer(options: HttpOptions): HttpServer {
  const server = fastify({
    bodyLimit: options.bodyLimit,
    requestTimeout: options.requestTimeoutMs,
    // Slow heads are the cheap attack; Node's own 60 s are too patient.
    http: { headersTimeout: 15_000 },
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    trustProxy: options.trustedProxies.length === 0 ? false : options.trustedProxies,
    genReqId: () => newId('req'),
    logger: false,
  })

  server.setErrorHandler((error, request, reply) => {
    const known = fromFastify(error) ?? toAppError(error)
    if (known.status >= 500)
      options.log.error({ requestId: request.id, err: known.cause ?? known }, 'request failed')
    if (known.code === 'unavailable' || known.code === 'rate_limited') void reply.header('retry-after', '5')
    return reply.status(known.status).send({ error: known.toJSON() })
  })
  server.setNotFoundHandler((request, reply) =>
    reply.status(404).send({
      error: new AppError('not_found', `nothing is served at ${request.url.split('?')[0]}`).toJSON(),
    }),
  )
  server.get('/healthz', () => ({ ok: true }))
  // Whoever asks comes again every few seconds, and that we are not ready is an answer and no failure.
  const unready = createTrouble(options.log, {
    fails: 'not ready',
    lasts: 'still not ready',
    over: 'ready again',
  })
  server.get('/readyz', async (_request, reply) => {
    try {
      await options.ready()
      unready.over('ready')
      return { ok: true }
    } catch (error) {
      const known = toAppError(error)
      if (known.code !== 'unavailable') throw error
      unready.happened('ready', known.cause ?? known)
      return reply.status(known.status).header('retry-after', '5').send({ error: known.toJSON() })
    }
  })
  return server
}

/** Fastify's own refusals (body too large, bad JSON, …) in our words. */
function fromFastify(error: unknown): AppError | undefined {
  if (error instanceof AppError || !(error instanceof Error)) return undefined
  const status = (error as { statusCode?: number }).statusCode
  if (status === undefined || status >= 500) return undefined
  if (status === 413)
    return new AppError('too_large', 'the request body is larger than this server accepts', { cause: error })
  return new AppError('invalid_input', error.message, { cause: error })
}
