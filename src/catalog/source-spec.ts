import { z } from 'zod'
import { egressRule } from './egress-rule.ts'
import { mintedSpecs } from './minted.ts'
import { type SourceParts, sourceProblems } from './source-problems.ts'

/** A configured provider of tools. `stdio`: an MCP server run inside the sandbox. Other kinds have their own issues. */
const sourceFields = z.strictObject({
  kind: z.literal('stdio'),
  command: z.string().min(1),
  args: z.array(z.string()).default([]),
  /** Plain values only; a secret here would be inside the sandbox. */
  environment: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'use letters, digits and underscores, no digit first'),
      z.string(),
    )
    .default({}),
  egress: z.array(egressRule).default([]),
  /** Until then what no rule names goes out too, without a credential, and is recorded: to learn the rules. */
  egress_warn_until: z.iso
    .datetime({
      offset: true,
      error: 'write the end as a date and time with its zone, such as 2026-12-01T18:00:00Z',
    })
    .optional(),
  /** Credentials that the proxy makes out of stored ones; a rule names one as it names a stored one. */
  minted: mintedSpecs,
  /** `on_first_sight`: definitions found by the first discovery are accepted; any later change waits for a person. */
  review: z.enum(['on_first_sight', 'by_hand']).default('by_hand'),
  timeout_seconds: z.number().int().min(1).max(3600).default(300),
})

/** A source, with what only its parts together can get wrong refused, all of it at once: one mistake hides no other. */
export const sourceSpec = sourceFields.superRefine(
  (source, context) => {
    for (const { path, message } of sourceProblems(wellFormed(source, context.issues)))
      context.addIssue({ code: 'custom', path, message })
  },
  { when: ({ value }) => value !== null && typeof value === 'object' && 'egress' in value },
)
export type SourceSpec = z.infer<typeof sourceSpec>

/** The parts of a source that have no issue of their own; only those are what their types say. */
function wellFormed(
  { egress, minted, environment }: SourceSpec,
  issues: readonly { path?: PropertyKey[] | undefined }[],
): SourceParts {
  const isWrong = (...place: PropertyKey[]) =>
    issues.some(({ path = [] }) => place.every((key, at) => path[at] === key))
  const isWrongAsAWhole = (key: string) =>
    issues.some(({ path = [] }) => path.length === 1 && path[0] === key)
  const rules = isWrongAsAWhole('egress') ? [] : egress
  return {
    egress: rules.map((rule, index) => (isWrong('egress', index) ? undefined : rule)),
    unreadable: JSON.stringify(
      rules === egress ? egress.filter((_, index) => isWrong('egress', index)) : [egress],
    ),
    minted: isWrong('minted') ? undefined : minted,
    environment: isWrong('environment') ? {} : environment,
  }
}
