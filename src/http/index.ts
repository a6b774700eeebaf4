/**
 * http: the one Fastify factory. It sets limits, timeouts, request ids, error bodies, `/healthz` and `/readyz`,
 * and closes gracefully. It has no routes of its own and knows nobody's business.
 */
export { closeServer } from './close.ts'
export { listenAt } from './listen.ts'
export { createHttpServer, type HttpServer } from './server.ts'
