import type { IncomingHttpHeaders } from 'node:http'
import {
  classifyInboundRequest,
  PROTOCOL_VERSION_META_KEY,
  SUPPORTED_PROTOCOL_VERSIONS,
} from '@modelcontextprotocol/server'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError, isRecord } from '../core/index.ts'
import { Unproven } from './authenticate.ts'
import type { Exchange, McpDeps } from './options.ts'
import { refuseCaller } from './refuse.ts'
import { type Era, stampModern } from './results.ts'
import { errorBody, type RequestId, toRpcError } from './rpc.ts'
import type { RunCall } from './run-call.ts'

/** A `tools/call` that needs nothing of the SDK. */
interface PlainCall {
  era: Era
  id: RequestId
  params: Record<string, unknown>
}

const eventStream = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}
const members = new Set(['jsonrpc', 'id', 'method', 'params'])
const paramMembers = new Set(['name', 'arguments', '_meta'])

/**
 * The call in this POST when it is well-formed in every respect; undefined sends it the long way, through the
 * SDK, which knows the right answer to everything that is not.
 */
export function readPlainCall(headers: IncomingHttpHeaders, body: unknown): PlainCall | undefined {
  if (!isRecord(body) || body['method'] !== 'tools/call' || body['jsonrpc'] !== '2.0') return undefined
  const { id, params } = body
  if (typeof id !== 'string' && !Number.isSafeInteger(id)) return undefined
  if (!isRecord(params) || typeof params['name'] !== 'string') return undefined
  if (params['arguments'] !== undefined && !isRecord(params['arguments'])) return undefined
  const meta = params['_meta'] ?? {}
  if (!isRecord(meta)) return undefined
  const token = meta['progressToken']
  if (token !== undefined && typeof token !== 'string' && !Number.isSafeInteger(token)) return undefined
  if (!onlyHas(body, members) || !onlyHas(params, paramMembers)) return undefined
  const { accept } = headers
  if (accept?.includes('application/json') !== true || !accept.includes('text/event-stream')) return undefined

  const call = { id: id as RequestId, params }
  const version = headers['mcp-protocol-version']
  if (meta[PROTOCOL_VERSION_META_KEY] === undefined) {
    const known = version === undefined || SUPPORTED_PROTOCOL_VERSIONS.includes(String(version))
    return known ? { ...call, era: 'legacy' } : undefined
  }
  const method = headers['mcp-method']
  const name = headers['mcp-name']
  if (version !== '2026-07-28' || method !== 'tools/call' || name !== params['name']) return undefined
  const route = classifyInboundRequest({
    httpMethod: 'POST',
    protocolVersionHeader: version,
    mcpMethodHeader: method,
    mcpNameHeader: name,
    body,
  })
  const plain = route.kind === 'modern' && route.classification.revision === version
  return plain ? { ...call, era: 'modern' } : undefined
}

/**
 * Serves a plain call: as one JSON body when it ends within `quickMs` and has said nothing before, else as an
 * event stream whose first bytes leave right then. The messages are those that the SDK would send. For a caller
 * who is only recalled the time counts from the proof, so that a refusal can still have its own status.
 */
export function serveDirect(
  { runCall, log, options }: Pick<McpDeps, 'log' | 'options'> & { runCall: RunCall },
  call: PlainCall,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  exchange: Exchange,
): void {
  const response = reply.raw
  const controller = new AbortController()
  let quick: NodeJS.Timeout | undefined
  let streaming = false
  let over = false

  const openStream = () => {
    if (streaming || over) return
    streaming = true
    void reply.hijack()
    response.writeHead(200, eventStream)
    response.write(': open\n\n')
  }
  const proven = () => {
    quick ??= setTimeout(openStream, options.quickMs)
  }
  const finish = (json: string | undefined) => {
    if (over) return
    // A cancelled call gets no answer, but its request has to end.
    if (json === undefined) openStream()
    end()
    if (json === undefined) return void response.end()
    if (streaming) return void response.end(frame(json))
    void reply.hijack()
    response
      .writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) })
      .end(json)
  }
  const refuse = (refused: AppError) => {
    if (streaming) return finish(JSON.stringify(errorBody(toRpcError(refused, log), call.id)))
    if (over) return
    end()
    void refuseCaller(reply, refused, options, { body: request.body, modern: call.era === 'modern' })
  }
  const end = () => {
    over = true
    clearTimeout(quick)
  }
  const gone = () => {
    if (over) return
    end()
    // Nothing can be resumed here, so nobody can receive this answer any more.
    controller.abort(new AppError('call_cancelled', 'The client went away before the call ended.'))
  }
  if (response.destroyed) gone()
  else response.once('close', gone)
  controller.signal.addEventListener('abort', () => finish(undefined), { once: true })
  if (exchange.recalled === undefined) proven()

  runCall({
    exchange,
    era: call.era,
    id: call.id,
    params: call.params,
    controller,
    proven,
    send(params) {
      openStream()
      if (!over)
        response.write(frame(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params })))
    },
    pulse() {
      if (streaming && !over) response.write(': keepalive\n\n')
    },
  }).then(
    (result) => {
      const { name, version } = options
      const stamped = call.era === 'modern' ? stampModern(result, { name, version }) : result
      finish(JSON.stringify({ result: stamped, jsonrpc: '2.0', id: call.id }))
    },
    (error: unknown) => {
      if (error instanceof Unproven) refuse(error.refused)
      else finish(JSON.stringify(errorBody(toRpcError(error, log), call.id)))
    },
  )
}

function frame(json: string): string {
  return `event: message\ndata: ${json}\n\n`
}

function onlyHas(value: Record<string, unknown>, allowed: ReadonlySet<string>): boolean {
  for (const key in value) if (!allowed.has(key)) return false
  return true
}
