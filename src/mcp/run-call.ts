import { AppError, isRecord, toAppError } from '../core/index.ts'
import { Unproven } from './authenticate.ts'
import type { Exchange, McpDeps } from './options.ts'
import { createProgress, type ProgressParams } from './progress.ts'
import { type Era, errorResult, shapeResult } from './results.ts'
import { type RequestId, RpcError, rpcCodes } from './rpc.ts'
import type { Running } from './running.ts'

export interface CallOrder {
  exchange: Exchange
  era: Era
  id: RequestId
  /** The request's `params`, unread. */
  params: unknown
  /** Aborted by the caller when the client is gone; aborted here when the client cancels. */
  controller: AbortController
  /** Sends one `notifications/progress`. */
  send: (params: ProgressParams) => void
  /** A recalled caller is proven from here on. */
  proven?: () => void
  /** A sign of life for a client that asked for no progress. */
  pulse?: () => void
}

export type RunCall = (order: CallOrder) => Promise<Record<string, unknown>>

/**
 * One `tools/call`, however it came in: checked for form, registered so that it can be cancelled, kept alive,
 * and answered with a result. Rejects with an `RpcError` only for bad form and for a tool that does not exist.
 */
export function createRunCall({
  calls,
  log,
  options,
  running,
}: Pick<McpDeps, 'calls' | 'log' | 'options'> & { running: Running }): RunCall {
  return async ({ exchange, era, id, params, controller, send, pulse, proven }) => {
    const { name, args, progressToken } = readParams(params)
    const progress = createProgress({
      token: progressToken,
      heartbeatMs: options.heartbeatMs,
      send(values) {
        if (!exchange.congested()) send(values)
      },
      ...(pulse === undefined ? {} : { pulse }),
    })
    const forget = running.start(exchange.session, id, controller)
    try {
      const { caller, toolkit, client, recalled } = exchange
      const confirm = async () => {
        const confirmed = await recalled?.confirm()
        proven?.()
        return confirmed ?? caller
      }
      const { result } = await calls.call(
        {
          caller,
          toolkit,
          alias: name,
          arguments: args,
          client,
          ...(recalled === undefined ? {} : { recalled: { secretHash: recalled.secretHash, confirm } }),
        },
        {
          signal: controller.signal,
          progress: progress.progress,
          waiting: progress.waiting,
          ...(proven === undefined ? {} : { begun: proven }),
        },
      )
      return shapeResult(result, era)
    } catch (error) {
      if (error instanceof Unproven) throw error
      if (error instanceof AppError && error.code === 'tool_unknown')
        throw new RpcError(rpcCodes.invalidParams, error.message, { code: error.code })
      if (!(error instanceof AppError)) log.error({ err: error, alias: name }, 'tool call failed')
      return errorResult(toAppError(error).message)
    } finally {
      progress.stop()
      forget()
    }
  }
}

function readParams(params: unknown) {
  if (!isRecord(params) || typeof params['name'] !== 'string')
    throw new RpcError(rpcCodes.invalidParams, 'tools/call needs params.name, the name of a tool.')
  const args = params['arguments'] ?? {}
  if (!isRecord(args))
    throw new RpcError(rpcCodes.invalidParams, 'params.arguments must be an object; leave it out for none.')
  const meta = params['_meta']
  const token = isRecord(meta) ? meta['progressToken'] : undefined
  const progressToken = typeof token === 'string' || typeof token === 'number' ? token : undefined
  return { name: params['name'], args, progressToken }
}
