import { stringify } from 'yaml'
import { schemePort } from './catalog/index.ts'
import { type Config, demandWritten } from './config.ts'
import { AppError, type Log, shellWord } from './core/index.ts'
import { type Elsewhere, elsewhere, type ProposedAs, proposeRule, suggestRules } from './egress/index.ts'
import { withStore } from './main-database.ts'
import { demandMigrated, unnamedRequests } from './store/index.ts'

/** Where rules are written down, and what takes them up from there. */
export interface RuleFile {
  file: string
  take: string
}
/** The file that `--config` named, or the one that every command reads. */
export function configuration(named: string | undefined): RuleFile {
  return named === undefined
    ? { file: 'the configuration', take: 'run `toolcrib apply`' }
    : { file: named, take: `run \`toolcrib apply --config ${shellWord(named)}\`` }
}
/** `npm run dev` applies its sample when it starts, and nothing else does. */
export const devSample: RuleFile = { file: 'toolcrib.dev.yaml', take: 'start `npm run dev` again' }

/** `toolcrib egress allow`: the rule to write down. The file is the truth, and its comments are a person's. */
export function allowEgress(
  config: Config,
  rules: RuleFile,
  asked: { source: string; method: string; url: string },
): string {
  const proposal = proposeRule(asked.method, asked.url, sourceOf(config, asked.source).egress)
  if ('allowedBy' in proposal)
    return `${proposal.allowedBy} of the source ${asked.source} allows this already; if it is still refused, ${rules.take}.\n`
  const { paths } = proposal.rule
  const cut = /^[^?#]*%2f/i.test(asked.url)
    ? `# No rule has an encoded slash in it: this one covers all below ${paths.join(', ')}.\n`
    : ''
  return cut + toAdd(config, rules, asked.source, [proposal])
}

/** `toolcrib egress suggest`: the rules for all that a source asked for in the last days and none names. */
export async function suggestEgress(
  config: Config,
  log: Log,
  file: RuleFile,
  asked: { source: string; days: number },
): Promise<string> {
  const { egress } = sourceOf(config, asked.source)
  const observed = await withStore(config, log, async (store) => {
    await demandMigrated(store.db)
    return await unnamedRequests(store.db, asked.source, asked.days)
  })
  const { rules, tunnels, impossible } = suggestRules(observed, egress)
  const notes = [
    ...rules.map(
      ({ rule, times, refused = [] }) =>
        `# ${times} x ${addressOf(rule)}: look at what is asked before you allow it.${refused.length === 0 ? '' : ` Warn mode refused it too: ${refused.join(', ')}.`}`,
    ),
    ...tunnels.map(
      ({ host, port, times }) =>
        `# ${times} x a tunnel to ${host}:${port} was refused: what would have been asked is learnt by \`egress_warn_until\`.`,
    ),
    ...impossible.map((seen) => `# No rule can allow ${seen.method} ${addressOf(seen)}${seen.path}.`),
  ]
  if (notes.length === 0)
    return `The rules of ${asked.source} name all that it asked for in the last ${asked.days} days.\n`
  const text = notes.join('\n')
  return rules.length === 0 ? `${text}\n` : `${text}\n${toAdd(config, file, asked.source, rules)}`
}

/** Scheme, host and port in full: one host may be asked by two of them, and each is a rule of its own. */
function addressOf(place: { scheme?: string | undefined; host: string; port?: number | undefined }): string {
  const { scheme = 'https', host, port = schemePort(scheme === 'https' ? 'https' : 'http') } = place
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function toAdd(config: Config, { file, take }: RuleFile, source: string, proposed: ProposedAs[]): string {
  const text = stringify({ sources: { [source]: { egress: proposed.map(({ rule }) => rule) } } })
  const { [source]: _own, ...others } = config.file.sources
  const bare = proposed.flatMap((each) => [
    ...(each.without === undefined
      ? []
      : [
          `# Other rules of ${each.rule.host} use ${each.without.join(', ')}; this one sends no credential unless you write it in.\n`,
        ]),
    ...elsewhere(each, others).map(
      (other) =>
        `# The source ${other.source} reaches ${addressOf(each.rule)} ${means(other)}; where that is meant here too, write it in.\n`,
    ),
  ])
  // What was accepted is a tool and where it may send data.
  const accept = `# The tools of ${source} then wait to be accepted again: toolcrib tools list, toolcrib tools accept.`
  return `# Add to ${file}, then ${take}:\n${accept}\n${bare.join('')}${text}`
}

/** As in a rule, so that it can be copied. */
function means({ port, address, credentials }: Elsewhere): string {
  return [
    ...(address === undefined ? [] : [`by \`port: ${port}\` and \`address: ${address}\``]),
    ...(credentials.length === 0 ? [] : [`with ${credentials.join(', ')}`]),
  ].join(', ')
}

function sourceOf(config: Config, id: string) {
  const { sources } = config.file
  const source = sources[id]
  if (source !== undefined) return source
  demandWritten(config)
  const known = Object.keys(sources).join(', ')
  throw new AppError(
    'invalid_input',
    `the configuration has no source "${id}"; it has ${known === '' ? 'none' : known}; --config names another file`,
  )
}
