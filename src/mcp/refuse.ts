import type { FastifyReply } from 'fastify'
import type { AppError, ErrorCode } from '../core/index.ts'
import type { McpOptions } from './options.ts'
import { errorResult, stampModern } from './results.ts'
import { errorBody, methodOf, type RequestId, RpcError, requestIdOf, rpcCodes } from './rpc.ts'

/** The codes that are about a token of ours. */
const rejected: ReadonlySet<ErrorCode> = new Set([
  'token_malformed',
  'token_unknown',
  'token_expired',
  'token_revoked',
  'principal_deactivated',
])
/** Of those, the ones that a working session can run into. */
const ended: ReadonlySet<ErrorCode> = new Set(['token_expired', 'token_revoked', 'principal_deactivated'])

/** Whether the answer to this refusal depends on the request's body. */
export function dependsOnBody(refused: AppError): boolean {
  return rejected.has(refused.code) || refused.code === 'forbidden'
}

/**
 * Answers a request whose caller is not proven. Clients take a 401 for an invitation to sign in by OAuth and
 * hide the text, so only a request without any token gets one. A token that ended in mid-session is told as the
 * result of the tool call, because that is the one text which the model passes on to the person.
 */
export function refuseCaller(
  reply: FastifyReply,
  refused: AppError,
  options: Pick<McpOptions, 'rejectedTokenStatus' | 'tokenHelp' | 'name' | 'version'>,
  request: { body: unknown; modern: boolean },
): FastifyReply {
  const id = requestIdOf(request.body)
  const { code } = refused
  const aboutToken = code === 'unauthenticated' || rejected.has(code)
  const text = aboutToken ? `${refused.message} ${options.tokenHelp}` : refused.message

  if (ended.has(code) && id !== null && methodOf(request.body) === 'tools/call') {
    const result = errorResult(text)
    const { name, version } = options
    return reply
      .status(200)
      .send({ result: request.modern ? stampModern(result, { name, version }) : result, jsonrpc: '2.0', id })
  }
  const status = rejected.has(code) ? options.rejectedTokenStatus : refused.status
  if (status === 401) {
    const cause = code === 'unauthenticated' ? '' : ', error="invalid_token"'
    void reply.header('www-authenticate', `Bearer realm="${options.name}"${cause}`)
  }
  if (status === 429 || status === 503) {
    const after = refused.details['retryAfterSeconds']
    void reply.header('retry-after', typeof after === 'number' ? String(Math.ceil(after)) : '5')
  }
  const rpcCode = aboutToken
    ? rpcCodes.token
    : status === 429
      ? rpcCodes.rateLimited
      : status === 503
        ? rpcCodes.unavailable
        : rpcCodes.forbidden
  return refuse(reply, status, new RpcError(rpcCode, text, { code }), id)
}

/** Answers with a JSON-RPC error under an HTTP status. */
export function refuse(
  reply: FastifyReply,
  status: number,
  error: RpcError,
  id: RequestId | null = null,
): FastifyReply {
  return reply.status(status).send(errorBody(error, id))
}
