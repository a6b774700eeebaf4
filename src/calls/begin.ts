import { AppError } from '../core/index.ts'
import { callStanding } from '../store/index.ts'
import type { CallDeps } from './deps.ts'
import type { CallFacts } from './facts.ts'
import { tokenRefusal } from './flights.ts'
import { demandAllowed, type Resolution, resolve } from './resolve.ts'
import type { CallRequest } from './types.ts'

const attempts = 4

/**
 * The last decision, made in the statement that writes the row: when this returns, the row stands, the token was
 * usable and the catalog was the one decided by, all at one moment. Otherwise it throws the refusal, and nothing
 * may be sent. A catalog that moved without changing anything about this call is no reason to refuse.
 */
export async function beginOrRefuse(
  deps: CallDeps,
  request: CallRequest,
  facts: CallFacts,
  decided: Resolution,
): Promise<void> {
  let version = decided.catalog.version
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (await writeRow(deps, request, facts, version)) return
    if (request.recalled !== undefined)
      throw new AppError('unavailable', 'The caller of this call is not proven yet.')
    const standing = await callStanding(deps.store.db, request.caller.tokenId)
    if (standing.token !== 'usable') throw tokenRefusal(standing.token)
    const now = resolve(await deps.catalog.current(standing.catalogVersion), request)
    facts.decision = now.decision.effect
    facts.call.rule = now.decision.rule
    demandAllowed(request.alias, now.decision)
    if (!sameCall(decided, now))
      throw new AppError(
        'unavailable',
        `"${request.alias}" was changed while this call waited, and nothing was run. Call it again.`,
      )
    version = now.catalog.version
  }
  throw new AppError(
    'unavailable',
    'The configuration keeps changing while this call waits, and nothing was run. Call again in a moment.',
  )
}

async function writeRow(
  deps: CallDeps,
  request: CallRequest,
  facts: CallFacts,
  catalogVersion: number,
): Promise<boolean> {
  try {
    const secretHash = request.recalled?.secretHash ?? null
    const written = await deps.rows.begin(facts.call, { catalogVersion, secretHash })
    facts.row = written ? 'written' : 'none'
    return written
  } catch (error) {
    // The answer was lost, perhaps after the row was written.
    facts.row = 'unsure'
    throw new AppError(
      'unavailable',
      'This call could not be recorded, so it was not run: the database does not answer. Call again in a moment.',
      { cause: error },
    )
  }
}

/** Whether what was validated and handed to the runner is still what the catalog says. */
function sameCall(before: Resolution, now: Resolution): boolean {
  return (
    before.tool?.definitionDigest === now.tool?.definitionDigest &&
    before.tool?.remoteName === now.tool?.remoteName &&
    before.source?.specDigest === now.source?.specDigest
  )
}
