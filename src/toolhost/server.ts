import { chmod, rm } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError, http, type Log } from '../core/index.ts'
import { identityHeaders, type ToolhostSettings } from '../wire/index.ts'
import { Refused, sendJson, toRefusal } from './refusal.ts'
import { createRoutes, type RouteOptions } from './routes.ts'

export interface Server {
  /** Refuses what is new, lets answers under way end. */
  close(): Promise<void>
}

const longestSocketPath = 107

/** Serves the protocol of `wire/` on a unix socket that only this user may open. */
export async function startServer(
  options: RouteOptions & { settings: ToolhostSettings; log: Log },
): Promise<Server> {
  const { settings, log } = options
  if (Buffer.byteLength(settings.socketPath) > longestSocketPath)
    throw new AppError(
      'invalid_input',
      `socketPath is ${Buffer.byteLength(settings.socketPath)} bytes long; the kernel takes ${longestSocketPath}`,
    )
  const route = createRoutes(options)
  const server = http.createServer((request, response) => {
    response.sendDate = false
    response.setHeader(identityHeaders.sandboxUid, settings.sandboxUid)
    response.setHeader(identityHeaders.generation, String(settings.generation))
    response.on('error', () => undefined)
    answer(request, response).catch((error: unknown) => {
      log.error({ err: String(error) }, 'request failed')
      response.destroy()
    })
  })
  // An idle connection is closed by the gateway alone: closed from here, a call could be written into the closing
  // and its outcome would be unknown.
  server.keepAliveTimeout = 0

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      checkIdentity(request, settings)
      await route(request, response)
    } catch (error) {
      if (response.headersSent) throw error
      if (!(error instanceof AppError) && !(error instanceof Refused)) throw error
      const { status, refusal } = toRefusal(error)
      sendJson(response, status, refusal)
    }
  }

  await rm(settings.socketPath, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(settings.socketPath, resolve)
  })
  await chmod(settings.socketPath, 0o600)
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeIdleConnections()
      }),
  }
}

/** A request that names another sandbox was meant for another sandbox (invariant 13). */
function checkIdentity(request: IncomingMessage, settings: ToolhostSettings): void {
  const uid = request.headers[identityHeaders.sandboxUid]
  const generation = request.headers[identityHeaders.generation]
  if (uid !== undefined && uid !== settings.sandboxUid)
    throw new Refused(421, 'stale', 'the request is meant for another sandbox')
  if (generation !== undefined && generation !== String(settings.generation))
    throw new Refused(421, 'stale', 'the request is meant for another generation of this sandbox')
}
