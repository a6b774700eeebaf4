import type { Caller } from '../access/index.ts'
import { AppError, type Log } from '../core/index.ts'
import type { McpDeps } from './options.ts'

/** Who calls, or why not. */
export type Proof = { caller: Caller } | { refused: AppError }

/**
 * Proves the caller of one request to the endpoint of `toolkit` (null: `/mcp`). A token opens exactly one
 * endpoint. Whatever goes wrong refuses: an error that is not about the token counts as `unavailable`.
 */
export async function authenticate(
  { access, log }: { access: McpDeps['access']; log: Log },
  request: {
    authorization: string | undefined
    address: string
    client: string | null
    toolkit: string | null
  },
): Promise<Proof> {
  const bearer = /^Bearer +(\S+) *$/i.exec(request.authorization ?? '')?.[1]
  if (bearer === undefined)
    return {
      refused: new AppError('unauthenticated', 'This endpoint needs a token: Authorization: Bearer <token>.'),
    }
  try {
    const { address, client, toolkit } = request
    const caller = await access.verify(bearer, { address, client })
    if (caller.toolkit === toolkit) return { caller }
    const opens = caller.toolkit === null ? '/mcp' : `/mcp/toolkits/${caller.toolkit}`
    return { refused: new AppError('forbidden', `This token opens ${opens} and nothing else.`) }
  } catch (error) {
    if (error instanceof AppError) return { refused: error }
    log.error({ err: error }, 'verifying a token failed')
    return {
      refused: new AppError('unavailable', 'Tokens cannot be checked at the moment. Try again shortly.', {
        cause: error,
      }),
    }
  }
}
