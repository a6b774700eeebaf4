import type { Caller, RecalledCaller } from '../access/index.ts'
import { AppError, type Log } from '../core/index.ts'
import type { McpDeps } from './options.ts'

/** Who calls, or why not. */
export type Proof = { caller: Caller } | { refused: AppError }

/** What a request says of its caller. */
export interface Claim {
  authorization: string | undefined
  address: string
  client: string | null
  /** Of the endpoint; null: `/mcp`. A token opens exactly one endpoint. */
  toolkit: string | null
}

/** Whatever goes wrong refuses: an error that is not about the token counts as `unavailable`. */
export async function authenticate(
  { access, log }: { access: Pick<McpDeps['access'], 'verify'>; log: Log },
  claim: Claim,
): Promise<Proof> {
  const bearer = bearerOf(claim)
  if (bearer === undefined)
    return {
      refused: new AppError('unauthenticated', 'This endpoint needs a token: Authorization: Bearer <token>.'),
    }
  try {
    const { address, client, toolkit } = claim
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

/** Who called with this claim a moment ago; see `Access.recall` for what that is worth. */
export function recall(access: Pick<McpDeps['access'], 'recall'>, claim: Claim): RecalledCaller | undefined {
  const bearer = bearerOf(claim)
  const recalled = bearer === undefined ? undefined : access.recall(bearer)
  return recalled?.caller.toolkit === claim.toolkit ? recalled : undefined
}

/** Thrown where a recalled caller could not be proven. */
export class Unproven extends Error {
  readonly refused: AppError

  constructor(refused: AppError) {
    super(refused.message)
    this.refused = refused
  }
}

function bearerOf({ authorization }: Claim): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1]
}
