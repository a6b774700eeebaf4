import { AppError, isRecord, type Log, toAppError } from '../core/index.ts'

/** The id of a JSON-RPC request. */
export type RequestId = string | number

/** Our own JSON-RPC codes; `-32000…-32019` belong to servers. */
export const rpcCodes = {
  refused: -32000,
  token: -32001,
  forbidden: -32003,
  rateLimited: -32004,
  unavailable: -32005,
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
} as const

/** A JSON-RPC error on its way to the client: `message` and `data` are safe to show. */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly code: number
  readonly data: Record<string, unknown> | undefined

  constructor(code: number, message: string, data?: Record<string, unknown>) {
    super(message)
    this.code = code
    this.data = data
  }
}

export interface RpcErrorBody {
  jsonrpc: '2.0'
  id: RequestId | null
  error: { code: number; message: string; data?: Record<string, unknown> }
}

export function errorBody(error: RpcError, id: RequestId | null = null): RpcErrorBody {
  const { code, message, data } = error
  return { jsonrpc: '2.0', id, error: { code, message, ...(data === undefined ? {} : { data }) } }
}

const byCode: Partial<Record<AppError['code'], number>> = {
  unauthenticated: rpcCodes.token,
  token_malformed: rpcCodes.token,
  token_unknown: rpcCodes.token,
  token_expired: rpcCodes.token,
  token_revoked: rpcCodes.token,
  principal_deactivated: rpcCodes.token,
  forbidden: rpcCodes.forbidden,
  not_found: rpcCodes.invalidParams,
  tool_unknown: rpcCodes.invalidParams,
  invalid_input: rpcCodes.invalidParams,
  too_large: rpcCodes.refused,
  rate_limited: rpcCodes.rateLimited,
  unavailable: rpcCodes.unavailable,
}

/** Any error as one for the wire. Foreign text stays in the log. */
export function toRpcError(error: unknown, log: Log): RpcError {
  if (error instanceof RpcError) return error
  const known = toAppError(error)
  if (!(error instanceof AppError)) log.error({ err: error }, 'mcp request failed')
  return new RpcError(byCode[known.code] ?? rpcCodes.internal, known.message, {
    code: known.code,
    ...known.details,
  })
}

/** The id to echo: that of a single request, when it could be read. */
export function requestIdOf(body: unknown): RequestId | null {
  if (!isRecord(body) || typeof body['method'] !== 'string') return null
  const id = body['id']
  return typeof id === 'string' || typeof id === 'number' ? id : null
}

export function methodOf(body: unknown): string | undefined {
  return isRecord(body) && typeof body['method'] === 'string' ? body['method'] : undefined
}

const firstModern = '2026-07-28'

/** Whether a protocol version names a revision without sessions; versions are dates. */
export function isModernVersion(version: string | undefined): boolean {
  return version !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(version) && version >= firstModern
}
