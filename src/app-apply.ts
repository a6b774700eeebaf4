import type { CatalogKeeper } from './catalog/index.ts'
import type { Config } from './config.ts'
import type { ConfigFile } from './config-schema.ts'
import { AppError, type Log } from './core/index.ts'
import { checkRules } from './policy/index.ts'

/** Writes the configuration to the database, unless a rule in it can match nothing: then nothing is written. */
export async function applyConfig(catalog: CatalogKeeper, file: ConfigFile, by: string): Promise<boolean> {
  const known = await catalog.latest()
  demandLiveRules(file, [...known.tools.values()])
  const policy = { sources: file.sources, toolkits: file.toolkits, rules: file.policy.rules }
  return (await catalog.apply(policy, by)).changed
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

/** The same for a gateway that starts; one that started where no configuration is written changes nothing. */
export async function applyAtStart(catalog: CatalogKeeper, config: Config, log: Log): Promise<void> {
  const { file, origin } = config
  if (origin.found !== 'settings')
    log.info({ file: origin.path }, 'no configuration is written: the database keeps what it has')
  else if (await applyConfig(catalog, file, 'configuration file')) log.info({}, 'configuration applied')
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
