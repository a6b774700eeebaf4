import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RecalledCaller } from '../access/index.ts'
import { AppError } from '../core/index.ts'
import type { HttpServer } from '../http/index.ts'
import { authenticate, type Claim, type Proof, recall, Unproven } from './authenticate.ts'
import { createHostCheck } from './host-check.ts'
import { claimedClient } from './label.ts'
import { serveMetadataPaths } from './metadata-paths.ts'
import type { McpDeps } from './options.ts'
import { createPost } from './post.ts'
import { dependsOnBody, refuse, refuseCaller } from './refuse.ts'
import { isModernVersion, RpcError, rpcCodes, toRpcError } from './rpc.ts'
import { createRunCall } from './run-call.ts'
import { createRunning } from './running.ts'
import { createSdkEndpoint } from './sdk-endpoint.ts'
import { printable, readSession } from './session.ts'
import { createSubscriptions } from './subscriptions.ts'

/** Proven, refused, or only recalled. */
type Identity = Proof | { recalled: RecalledCaller }

/** A stranger's body is read only to find the id to echo, and only so far. */
const strangersBody = 64 * 1024

/**
 * Adds `/mcp`, `/mcp/toolkits/:slug` and the paths where clients look for OAuth. Throws at once when an option
 * cannot work. Everything it holds ends with the server.
 */
export function registerMcp(server: HttpServer, deps: McpDeps): void {
  const { access, log, options, notices, notify } = deps
  if (options.labelKey.byteLength < 32)
    throw new AppError('invalid_input', 'labelKey needs at least 32 bytes')
  const hostCheck = createHostCheck(options)
  const running = createRunning({ notices, notify, log })
  const runCall = createRunCall({ ...deps, running })
  const sdk = createSdkEndpoint({ ...deps, runCall })
  const subscriptions = createSubscriptions({ notices, toolsChanged: () => sdk.toolsChanged() })
  const post = createPost({ log, options, running, runCall, sdk, subscriptions })

  const claimOf = (request: FastifyRequest): Claim => ({
    authorization: request.headers.authorization,
    address: request.ip,
    client: claimedClient(sessionId(request) ?? '') ?? printable(request.headers['user-agent']),
    toolkit: toolkitOf(request),
  })

  /**
   * Who calls is settled before the body is read, and before the method or the session is looked at. A POST of
   * somebody known may turn out to be a call that its own row proves; until then it counts as unproven.
   */
  const prove = async (request: FastifyRequest, reply: FastifyReply) => {
    const { headers } = request
    const misdirected = hostCheck(headers)
    if (misdirected !== undefined) return refuse(reply, 403, misdirected)
    const claim = claimOf(request)
    const recalled = request.method === 'POST' ? recall(access, claim) : undefined
    if (recalled !== undefined) {
      request.setDecorator<Identity>('mcpIdentity', { recalled })
      return undefined
    }
    const proof = await authenticate({ access, log }, claim)
    request.setDecorator<Identity>('mcpIdentity', proof)
    if (!('refused' in proof)) return undefined
    const length = Number(headers['content-length'] ?? Number.NaN)
    if (request.method === 'POST' && dependsOnBody(proof.refused) && length <= strangersBody) return undefined
    if (request.method === 'POST') void reply.header('connection', 'close')
    return refuseCaller(reply, proof.refused, options, { body: undefined, modern: false })
  }

  const handle = (request: FastifyRequest, reply: FastifyReply): FastifyReply | Promise<FastifyReply> => {
    const identity = request.getDecorator<Identity>('mcpIdentity')
    if (!('recalled' in identity)) return serve(request, reply, identity)
    const { caller, secretHash } = identity.recalled
    const prove = async () => await authenticate({ access, log }, claimOf(request))
    const confirm = async () => {
      const proof = await prove()
      if ('refused' in proof) throw new Unproven(proof.refused)
      return proof.caller
    }
    const facts = { version: versionOf(request), sessionId: sessionId(request) }
    return (
      post.plainCall(request, reply, { caller, recalled: { secretHash, confirm }, ...facts }) ??
      prove().then((proof) => serve(request, reply, proof))
    )
  }

  const serve = (request: FastifyRequest, reply: FastifyReply, proof: Proof): FastifyReply => {
    const version = versionOf(request)
    const modern = isModernVersion(version)
    if ('refused' in proof) return refuseCaller(reply, proof.refused, options, { body: request.body, modern })
    if (request.method === 'POST')
      return post.any(request, reply, { ...proof, version, sessionId: sessionId(request) })
    if (request.method === 'DELETE' && !modern) {
      const session = readSession(options.labelKey, proof.caller, sessionId(request))
      if (session.kind === 'none')
        return refuse(reply, 400, new RpcError(rpcCodes.refused, 'DELETE needs the header Mcp-Session-Id.'))
      if (session.kind === 'foreign' || running.wasEnded(session.key))
        return refuse(reply, 404, new RpcError(rpcCodes.token, 'There is no such session.'))
      running.endSession(session.key)
      return reply.status(200).send()
    }
    void reply.header('allow', modern ? 'POST' : 'POST, DELETE')
    return refuse(
      reply,
      405,
      new RpcError(rpcCodes.refused, `${request.method} is not served here; use POST.`),
    )
  }

  void server.register((scope, _options, done) => {
    scope.decorateRequest('mcpIdentity', null)
    scope.addHook('onRequest', prove)
    acceptEmptyJson(scope)
    scope.setErrorHandler((error, request, reply) => answerError(error, request, reply, log))
    for (const url of ['/mcp', '/mcp/toolkits/:slug'])
      scope.all(url, { bodyLimit: options.bodyLimit }, handle)
    done()
  })
  serveMetadataPaths(server, options.tokenHelp)

  // Streams that only listen would hold the server open for ever; calls in flight may end.
  server.addHook('preClose', (done) => {
    subscriptions.close()
    done()
  })
  server.addHook('onClose', async () => {
    running.close()
    await sdk.close()
  })
}

function versionOf(request: FastifyRequest): string | undefined {
  return single(request.headers['mcp-protocol-version'])?.trim()
}

function sessionId(request: FastifyRequest): string | undefined {
  return single(request.headers['mcp-session-id'])
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

function toolkitOf(request: FastifyRequest): string | null {
  return (request.params as { slug?: string }).slug ?? null
}

/** Some clients name a type for a body that they do not send. */
function acceptEmptyJson(scope: HttpServer): void {
  const parse = scope.getDefaultJsonParser('error', 'error')
  scope.removeContentTypeParser('application/json')
  scope.addContentTypeParser('application/json', { parseAs: 'string' }, (request, text, done) => {
    if (text === '') done(null, undefined)
    else void parse(request, text.toString(), done)
  })
}

/** Fastify's own refusals and whatever else fails before the protocol, as JSON-RPC. */
function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: McpDeps['log']) {
  const status = error instanceof Error ? (error as { statusCode?: number }).statusCode : undefined
  if (status === 413) {
    // Closed while it still sends, a client would see a broken connection instead of the reason.
    void reply.removeHeader('connection')
    return refuse(
      reply,
      413,
      new RpcError(rpcCodes.refused, 'The request is larger than this server accepts.'),
    )
  }
  if (status === 415)
    return refuse(reply, 415, new RpcError(rpcCodes.refused, 'Content-Type must be application/json.'))
  if (status !== undefined && status >= 400 && status < 500)
    return refuse(reply, 400, new RpcError(rpcCodes.parse, 'The request body is not valid JSON.'))
  log.error({ requestId: request.id, err: error }, 'mcp request failed')
  return refuse(reply, 500, toRpcError(new AppError('internal', 'Something went wrong on our side.'), log))
}
