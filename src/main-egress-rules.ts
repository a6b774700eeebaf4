import { stringify } from 'yaml'
import type { Config } from './config.ts'
import { AppError } from './core/index.ts'
import { proposeRule } from './egress/index.ts'

/** `toolcrib egress allow`: the rule to write down. The file is the truth, and its comments are a person's. */
export function allowEgress(config: Config, asked: { source: string; method: string; url: string }): string {
  const { sources } = config.file
  const source = sources[asked.source]
  if (source === undefined) {
    const known = Object.keys(sources).join(', ')
    throw new AppError(
      'invalid_input',
      `the configuration has no source "${asked.source}"; it has ${known === '' ? 'none' : known}`,
    )
  }
  const proposal = proposeRule(asked.method, asked.url, source.egress)
  if ('allowedBy' in proposal)
    return `${proposal.allowedBy} of the source ${asked.source} allows this already; if it is still refused, run \`toolcrib apply\`.\n`
  const rule = stringify({ sources: { [asked.source]: { egress: [proposal.rule] } } })
  return `# Add this rule to the configuration, then run \`toolcrib apply\`:\n${rule}`
}
