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

interface Asked {
  caller: Caller
  version: string | undefined
  sessionId: string | undefined
}

export interface Post {
  /** Serves whatever a proven caller posts. */
  any(request: FastifyRequest, reply: FastifyReply, proven: Asked): FastifyReply
  /** Serves a recalled caller's plain call, in a session or none; undefined, with nothing done, for all else. */
  plainCall(
    request: FastifyRequest,
    reply: FastifyReply,
    asked: Asked & { recalled: NonNullable<Exchange['recalled']> },
  ): FastifyReply | undefined
}

/** Settles the session of a POST, then hands it over to the direct way or to the SDK. */
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
  const sessionOf = (body: unknown, { caller, version, sessionId }: Asked): Session =>
    // The 2026 revision has no sessions and says to ignore the header; a client that opens starts a new one.
    isModernVersion(version) || methodOf(body) === 'initialize'
      ? { kind: 'none' }
      : readSession(options.labelKey, caller, sessionId)

  const exchangeOf = (
    request: FastifyRequest,
    reply: FastifyReply,
    asked: Asked & Pick<Exchange, 'recalled'>,
    session: Session,
  ): Exchange => {
    const { body, headers } = request
    const client =
      (session.kind === 'named' ? session.client : null) ?? selfNamed(body, methodOf(body) === 'initialize')
    return {
      caller: asked.caller,
      ...(asked.recalled === undefined ? {} : { recalled: asked.recalled }),
      toolkit: asked.caller.toolkit,
      session: session.kind === 'named' ? session.key : undefined,
      client: client ?? printable(headers['user-agent']),
      congested: () => reply.raw.writableNeedDrain,
    }
  }

  const readPlain = ({ headers, body }: FastifyRequest) =>
    options.direct ? readPlainCall(headers, body) : undefined

  return {
    plainCall(request, reply, asked) {
      const call = readPlain(request)
      if (call === undefined) return undefined
      const session = sessionOf(request.body, asked)
      if (session.kind === 'foreign') return undefined
      if (session.kind === 'named' && running.wasEnded(session.key)) return undefined
      const exchange = exchangeOf(request, reply, asked, session)
      serveDirect({ runCall, log, options }, call, { request, reply }, exchange)
      return reply
    },
    any(request, reply, asked) {
      const { body } = request
      const { caller } = asked
      const modern = isModernVersion(asked.version)
      const method = methodOf(body)
      const session = sessionOf(body, asked)
      if (session.kind === 'foreign') {
        const text = 'This session belongs to another person or endpoint. Open a new one with initialize.'
        return refuse(reply, 403, new RpcError(rpcCodes.forbidden, text), requestIdOf(body))
      }
      if (session.kind === 'named' && running.wasEnded(session.key)) {
        const text = 'The client has ended this session. Open a new one with initialize.'
        return refuse(reply, 404, new RpcError(rpcCodes.token, text), requestIdOf(body))
      }
      const exchange = exchangeOf(request, reply, asked, session)
      if (!modern && exchange.session !== undefined) {
        for (const id of cancelledIn(body)) running.cancel(exchange.session, id)
        if (method === 'notifications/cancelled') return reply.status(202).send()
      }
      if (modern && method === 'subscriptions/listen' && !subscriptions.admit(caller, reply.raw)) {
        const text = 'You have too many open subscriptions; close some and try again.'
        return refuse(reply, 429, new RpcError(rpcCodes.rateLimited, text), requestIdOf(body))
      }

      const plain = readPlain(request)
      if (plain !== undefined) {
        serveDirect({ runCall, log, options }, plain, { request, reply }, exchange)
        return reply
      }
      void reply.hijack()
      const { principalId, toolkit } = caller
      const opening = !modern && method === 'initialize'
      const label = opening
        ? mintLabel(options.labelKey, { principalId, toolkit }, exchange.client)
        : undefined
      sdk.serve({ raw: request.raw, body }, reply.raw, exchange, label)
      return reply
    },
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
