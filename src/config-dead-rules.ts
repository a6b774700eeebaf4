import { z } from 'zod'
import { checkRules } from './policy/index.ts'

/** Of what is written as much as patterns need, whatever else is wrong with it; `*` stands for one that is no text. */
const pattern = z.string().catch('*')
const written = z.object({
  sources: z.record(z.string(), z.unknown()).default({}),
  toolkits: z.record(z.string(), z.object({ tools: z.array(pattern) }).catch({ tools: [] })).catch({}),
  policy: z
    .object({ rules: z.array(z.object({ tools: pattern }).catch({ tools: '*' })) })
    .catch({ rules: [] }),
})

/**
 * The patterns that can match nothing, as far as sources go, of a configuration that is wrong elsewhere as well: where
 * it is right, that is asked when it is applied, beside the tools that are known.
 */
export function deadRulesIn(value: unknown): string[] {
  const { success, data } = written.safeParse(value)
  if (!success) return []
  const rules = data.policy.rules.map(({ tools }) => ({ tools, do: 'block' as const }))
  const known = { sources: Object.keys(data.sources), tools: [] }
  return checkRules({ rules, toolkits: data.toolkits }, known).map(
    ({ where, message }) => `${where}: ${message}`,
  )
}
