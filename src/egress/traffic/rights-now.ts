import { type RulesAt, rulesOf } from '../decision/rules.ts'
import type { SourceRules } from '../decision/warn.ts'
import type { Leases } from '../leases/leases.ts'

/** What took longer to decide, or to dial, is decided again before anything goes out: a right may be gone meanwhile. */
export const verdictMs = 250

/**
 * What the source of this lease may reach as it is now; undefined where the lease is no longer good. Rejects with
 * `unavailable` when the database cannot be asked.
 */
export async function rightsNow(
  deps: { leases: Pick<Leases, 'current'>; rulesAt: RulesAt; now: () => number },
  secretSha256: string,
): Promise<SourceRules | undefined> {
  const current = await deps.leases.current(secretSha256)
  if (current === undefined) return undefined
  const book = await deps.rulesAt(current.catalogVersion)
  return rulesOf(book, current.sourceId, deps.now())
}
