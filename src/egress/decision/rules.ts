import { type EgressRule, type MintedSpecs, sourceSpec } from '../../catalog/index.ts'
import { AppError, createTrouble, type Log } from '../../core/index.ts'
import { configuredSources, type Store } from '../../store/index.ts'
import { stubRules } from '../secrets/mint/stub.ts'
import type { SourceRules } from './warn.ts'

/** What each source may reach, as configured at one version of the catalog. */
export interface RuleBook {
  version: number
  /** No entry means no rules, and that means nothing. */
  rules: ReadonlyMap<string, readonly EgressRule[]>
  /** The credentials that are minted for a source. */
  minted: ReadonlyMap<string, MintedSpecs>
  /** Until when, in milliseconds since 1970, what no rule of a source names goes out too. */
  warnUntil: ReadonlyMap<string, number>
  /** Every host that some rule names for https: what certificates may be signed for. */
  hosts: readonly string[]
}

/** The rules as of this version or a newer one, at once where they were read already. Rejects with `unavailable`. */
export type RulesAt = (version: number) => RuleBook | Promise<RuleBook>

/**
 * Reads the rules of every source anew whenever a newer version is asked for, once however many ask. A source
 * whose configuration does not parse has no rules, so that nothing it sends goes out.
 */
export function createRuleLoader(options: {
  store: Store
  log: Log
  /** Told of every reading, once. */
  loaded: (book: RuleBook) => void
}): { at: RulesAt } {
  const trouble = createTrouble(options.log, {
    fails: 'egress rules cannot be read',
    lasts: 'egress rules still cannot be read',
    over: 'egress rules can be read again',
  })
  let book: RuleBook | undefined
  let loading: Promise<RuleBook> | undefined

  const load = async (): Promise<RuleBook> => {
    const { version, sources } = await configuredSources(options.store.pool)
    const rules = new Map<string, readonly EgressRule[]>()
    const minted = new Map<string, MintedSpecs>()
    const warnUntil = new Map<string, number>()
    for (const { id, spec } of sources) {
      const parsed = sourceSpec.safeParse(spec)
      if (parsed.success) {
        rules.set(id, [...parsed.data.egress, ...stubRules(parsed.data.minted)])
        minted.set(id, parsed.data.minted)
        const until = Date.parse(parsed.data.egress_warn_until ?? '')
        if (!Number.isNaN(until)) warnUntil.set(id, until)
      } else options.log.error({ sourceId: id }, 'source configuration is not valid, it may reach nothing')
    }
    const secure = [...rules.values()].flat().filter((rule) => rule.scheme === 'https' && rule.intercept)
    return { version, rules, minted, warnUntil, hosts: [...new Set(secure.map((rule) => rule.host))] }
  }

  const newer = async (version: number): Promise<RuleBook> => {
    const underWay = loading
    // Only ever newer: a late answer about an older catalog must not bring old rules back.
    while (book === undefined || book.version < version) {
      loading ??= load().finally(() => {
        loading = undefined
      })
      const reading = loading
      try {
        const loaded = await reading
        if (book === undefined || loaded.version > book.version) {
          book = loaded
          options.loaded(book)
        }
        // One that began before the question may have missed what the question knows: it is read once more.
        if (loaded.version < version && reading !== underWay) throw new Error('the catalog went backwards')
        trouble.over('rules')
      } catch (cause) {
        trouble.happened('rules', cause)
        throw new AppError('unavailable', 'egress rules cannot be read', { cause })
      }
    }
    return book
  }

  return { at: (version) => (book !== undefined && book.version >= version ? book : newer(version)) }
}

/** What a source may reach at a time in milliseconds since 1970; one without rules nothing. */
export function rulesOf(book: RuleBook, sourceId: string, now: number): SourceRules {
  return { rules: book.rules.get(sourceId) ?? [], warn: now < (book.warnUntil.get(sourceId) ?? 0) }
}
