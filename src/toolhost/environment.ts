import { readFileSync } from 'node:fs'
import { AppError } from '../core/index.ts'
import { type ToolhostSettings, toolhostSettings, toolhostSettingsVariable } from '../wire/index.ts'

export interface Environment {
  settings: ToolhostSettings
  /** Where the cluster says that its API is; undefined outside a cluster. */
  kubernetesApi: { host: string; port: number } | undefined
}

/** Reads what the toolhost is told; the only place that knows `process.env`. Throws `invalid_input`, every fault named. */
export function readEnvironment(): Environment {
  const file = process.argv[2]
  const text = file === undefined ? process.env[toolhostSettingsVariable] : readFileSync(file, 'utf8')
  if (text === undefined)
    throw new AppError(
      'invalid_input',
      `no settings: give the path of a JSON file as argument, or the JSON itself in ${toolhostSettingsVariable}`,
    )
  const parsed = toolhostSettings.safeParse(JSON.parse(text))
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
    throw new AppError('invalid_input', `the toolhost's settings are wrong: ${faults.join('; ')}`)
  }
  const host = process.env['KUBERNETES_SERVICE_HOST']
  const port = Number(process.env['KUBERNETES_SERVICE_PORT'] ?? 443)
  return { settings: parsed.data, kubernetesApi: host === undefined ? undefined : { host, port } }
}
