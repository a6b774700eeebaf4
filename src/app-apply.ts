import type { Applied, Catalog, CatalogKeeper } from './catalog/index.ts'
import type { Config } from './config.ts'
import type { ConfigFile } from './config-schema.ts'
import { AppError, type Log } from './core/index.ts'
import { checkRules } from './policy/index.ts'

/**
 * Writes the configuration to the database, unless a rule in it can match nothing, or it names no sources where the
 * database has some: then nothing is written. Left out by mistake, `sources` would take every tool from everybody.
 */
export async function applyConfig(catalog: CatalogKeeper, config: Config, by: string): Promise<Applied> {
  const { file, origin } = config
  const known = await catalog.latest()
  demandLiveRules(file, [...known.tools.values()])
  const forgotten = forgottenSources(known, config)
  if (forgotten.length > 0)
    throw new AppError(
      'invalid_input',
      `the configuration ${origin.path} has no \`sources\`, and would remove ${forgotten.join(', ')}; name yours by --config or TOOLCRIB_CONFIG, or write \`sources: {}\` there to remove every source`,
    )
  return await catalog.apply({ sources: file.sources, toolkits: file.toolkits, rules: file.policy.rules }, by)
}

/** The sources that applying would remove without a word about sources. */
function forgottenSources({ sources }: Catalog, { origin }: Config): string[] {
  if (origin.namesSources) return []
  return [...sources.values()].filter(({ enabled }) => enabled).map(({ id }) => id)
}

/** Throws with every rule and toolkit that can match nothing; without `tools`, only as far as sources go. */
export function demandLiveRules(
  file: ConfigFile,
  tools: readonly { sourceId: string; remoteName: string }[] = [],
): void {
  const problems = checkRules(
    { rules: file.policy.rules, toolkits: file.toolkits },
    { sources: Object.keys(file.sources), tools },
  )
  if (problems.length === 0) return
  const lines = problems.map((problem) => `  - ${problem.where}: ${problem.message}`)
  throw new AppError(
    'invalid_input',
    `the configuration has rules that can match nothing:\n${lines.join('\n')}`,
  )
}

/** The same for a gateway that starts; where no configuration is written, or none of sources, it changes nothing. */
export async function applyAtStart(catalog: CatalogKeeper, config: Config, log: Log): Promise<void> {
  const { origin, file } = config
  if (origin.found !== 'settings')
    return log.info({ file: origin.path }, 'no configuration is written: the database keeps what it has')
  const known = await catalog.latest()
  const kept = forgottenSources(known, config)
  if (kept.length > 0) {
    // What takes something away must not be left out in silence.
    demandLiveRules(file, [...known.tools.values()])
    return log.warn(
      { file: origin.path, sources: kept },
      'the configuration has no sources: the database keeps its own; `sources: {}` removes them',
    )
  }
  const { changed, removed } = await applyConfig(catalog, config, 'configuration file')
  if (changed) log.info(removed.length === 0 ? {} : { removed }, 'configuration applied')
}

/** Accepts those tools of these sources whose one change since they were accepted is the port that they may reach. */
export async function acceptMovedPorts(
  catalog: CatalogKeeper,
  sourceIds: string[],
  by: string,
): Promise<void> {
  const moved = (await catalog.listTools()).filter(
    (tool) =>
      sourceIds.includes(tool.sourceId) &&
      tool.review === 'changed' &&
      tool.changes.every(({ path }) => /^\/destination\/\d+\/port$/.test(path)),
  )
  for (const { alias, definitionDigest } of moved) await catalog.acceptTool(alias, definitionDigest, by)
}
