import { CLIENT_INFO_META_KEY } from '@modelcontextprotocol/server'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from '../access/index.ts'
import { isRecord } from '../core/index.ts'
import { readPlainCall, serveDirect } from './direct.ts'
import { mintLabel } from './label.ts'
import type { Exchange, McpDeps } from './options.ts'
import { refuse } from './refuse.ts'
import { isModernVersion, methodOf, RpcError, requestIdOf, rpcCodes } from './rpc.ts'
import type { RunCall } from './run-call.ts'
import type { Running } from './running.ts'
import type { SdkEndpoint } from './sdk-endpoint.ts'
import { clientName, printable, readSession, type Session } from './session.ts'
import type { Subscriptions } from './subscriptions.ts'

type Post = (
  request: FastifyRequest,
  reply: FastifyReply,
  proven: { caller: Caller; version: string | undefined; sessionId: string | undefined },
) => FastifyReply

/** Serves the POSTs of proven callers: settles the session, then hands over to the direct way or to the SDK. */
export function createPost({
  log,
  options,
  running,
  runCall,
  sdk,
  subscriptions,
}: Pick<McpDeps, 'log' | 'options'> & {
  running: Running
  runCall: RunCall
  sdk: SdkEndpoint
  subscriptions: Subscriptions
}): Post {
  return (request, reply, { caller, version, sessionId }) => {
    const { body } = request
    const modern = isModernVersion(version)
    const method = methodOf(body)
    const opening = !modern && method === 'initialize'
    // The 2026 revision has no sessions and says to ignore the header; a client that opens starts a new one.
    const session: Session =
      modern || opening ? { kind: 'none' } : readSession(options.labelKey, caller, sessionId)
    if (session.kind === 'foreign') {
      const text = 'This session belongs to another person or endpoint. Open a new one with initialize.'
      return refuse(reply, 403, new RpcError(rpcCodes.forbidden, text), requestIdOf(body))
    }
    if (session.kind === 'named' && running.wasEnded(session.key)) {
      const text = 'The client has ended this session. Open a new one with initialize.'
      return refuse(reply, 404, new RpcError(rpcCodes.token, text), requestIdOf(body))
    }

    const client = (session.kind === 'named' ? session.client : null) ?? selfNamed(body, opening)
    const response = reply.raw
    const exchange: Exchange = {
      caller,
      toolkit: caller.toolkit,
      session: session.kind === 'named' ? session.key : undefined,
      client: client ?? printable(request.headers['user-agent']),
      congested: () => response.writableNeedDrain,
    }

    if (!modern && exchange.session !== undefined) {
      for (const id of cancelledIn(body)) running.cancel(exchange.session, id)
      if (method === 'notifications/cancelled') return reply.status(202).send()
    }
    if (modern && method === 'subscriptions/listen' && !subscriptions.admit(caller, response)) {
      const text = 'You have too many open subscriptions; close some and try again.'
      return refuse(reply, 429, new RpcError(rpcCodes.rateLimited, text), requestIdOf(body))
    }

    const plain = options.direct ? readPlainCall(request.headers, body) : undefined
    void reply.hijack()
    if (plain !== undefined) {
      serveDirect({ runCall, log, options }, plain, response, exchange)
      return reply
    }
    const { principalId, toolkit } = caller
    const label = opening ? mintLabel(options.labelKey, { principalId, toolkit }, client) : undefined
    sdk.serve({ raw: request.raw, body }, response, exchange, label)
    return reply
  }
}

function selfNamed(body: unknown, opening: boolean): string | null {
  if (!isRecord(body) || !isRecord(body['params'])) return null
  const { params } = body
  if (opening) return clientName(params['clientInfo'])
  return isRecord(params['_meta']) ? clientName(params['_meta'][CLIENT_INFO_META_KEY]) : null
}

/** The request ids that this body cancels; a batch may hold several. */
function cancelledIn(body: unknown): (string | number)[] {
  return (Array.isArray(body) ? body : [body]).flatMap((message: unknown) => {
    if (methodOf(message) !== 'notifications/cancelled' || !isRecord(message)) return []
    const id = isRecord(message['params']) ? message['params']['requestId'] : undefined
    return typeof id === 'string' || typeof id === 'number' ? [id] : []
  })
}
