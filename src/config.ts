import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { LineCounter, parseDocument, type YAMLParseError } from 'yaml'
import { z } from 'zod'
import type { Pepper } from './access/index.ts'
import { deadRulesIn } from './config-dead-rules.ts'
import { sayIssue } from './config-issue.ts'
import { type ConfigFile, configFile } from './config-schema.ts'
import { readUpstreamCas } from './config-upstream-cas.ts'
import { AppError, digestJson, Secret } from './core/index.ts'

/** Everything set from outside: the file, and what must not stand in a file. */
export interface Config {
  readonly file: ConfigFile
  /** The file with its whole path, and what was found there. */
  readonly origin: { path: string; found: 'settings' | 'nothing' | 'no file'; namesSources: boolean }
  /** Where relative paths of the file start: the folder it lies in. */
  readonly baseDir: string
  readonly stateDir: string
  /** Names the file's content; the same digest again is the same configuration. */
  readonly digest: string
  /** Undefined: the embedded PostgreSQL in `stateDir`. */
  readonly databaseUrl: string | undefined
  /** Current first; undefined: one is made and kept in `stateDir`. */
  readonly peppers: Pepper[] | undefined
  readonly slack: SlackConfig | undefined
  /** The texts of `egress.upstream_ca_files`, PEM; undefined where they were not asked for. */
  readonly upstreamCas: string[] | undefined
}

export interface SlackConfig {
  botToken: Secret
  signingSecret: Secret
  /** Set: Socket Mode. */
  appToken: Secret | undefined
  apiUrl: string | undefined
}

/** The folder that holds the egress proxy's private keys; only its user may read it. */
export const egressKeysDir = (config: Config) => join(config.stateDir, 'egress-keys')

/** The folder that holds the egress proxy's socket and nothing else. */
export const egressSocketDir = (config: Config) => join(config.stateDir, 'egress')

type Environment = Record<string, string | undefined>

/** The environment of this process; read here and nowhere else. */
export const processEnvironment: Environment = process.env

/**
 * Reads `path` (or `TOOLCRIB_CONFIG`, or `toolcrib.yaml` if it is there, else all defaults) and the environment.
 * Throws one `invalid_input` that names every problem with its place and cure; nothing has been started by then. The
 * gateway needs no certificate authorities of upstreams, and may not be able to read them: they are read if asked for.
 */
export function readConfig(
  environment: Environment,
  path?: string,
  { withUpstreamCas = false }: { withUpstreamCas?: boolean } = {},
): Config {
  const chosen = path ?? environment.TOOLCRIB_CONFIG
  const text = readConfigText(chosen ?? 'toolcrib.yaml', chosen !== undefined)
  return parseConfig(text, {
    environment,
    baseDir: dirname(resolve(chosen ?? 'toolcrib.yaml')),
    name: chosen ?? 'toolcrib.yaml',
    withUpstreamCas,
  })
}

/**
 * For what takes the absence of a source as a wish. Throws `invalid_input` where nobody wrote down anything, with where
 * it looked; `cure` is what else would work, before the other file that may be meant.
 */
export function demandWritten({ origin: { path, found } }: Config, cure?: string): void {
  if (found === 'settings') return
  const what =
    found === 'nothing'
      ? `nothing is set in the configuration ${path}`
      : `there is no configuration file ${path}`
  const name = 'name yours by --config or TOOLCRIB_CONFIG'
  throw new AppError('invalid_input', `${what}; ${cure === undefined ? name : `${name}, or ${cure}`}`)
}

/**
 * `readConfig` without the file system, but for secrets in `*_FILE` and certificates that are asked for; `text` is
 * undefined where there is no file.
 */
export function parseConfig(
  text: string | undefined,
  from: { environment: Environment; baseDir: string; name: string; withUpstreamCas?: boolean },
): Config {
  const lines = new LineCounter()
  const document = parseDocument(text ?? '', { lineCounter: lines, uniqueKeys: true })
  const problems = syntaxProblems(document.errors)
  const value = (problems.length === 0 ? (document.toJS() as unknown) : undefined) ?? {}
  const parsed = configFile.safeParse(value, { error: sayIssue })
  if (!parsed.success && problems.length === 0) problems.push(...parsed.error.issues.map(explain))
  // As it is written: one mistake elsewhere does not hide a file that is not there.
  const named = from.withUpstreamCas === true ? namedCas.safeParse(value).data : undefined
  const cas = readUpstreamCas(named?.egress.upstream_ca_files ?? [], from.baseDir)
  problems.push(...cas.problems)

  const secret = (name: string) => readSecret(from.environment, name, problems)
  const slack = readSlack(from.environment, secret, problems)
  const peppers = readPeppers(secret('TOOLCRIB_PEPPERS'), problems)
  const databaseUrl = secret('DATABASE_URL')?.reveal()
  if (databaseUrl !== undefined && !/^(?:postgres(?:ql)?:\/\/|socket:|\/)/.test(databaseUrl)) {
    // What stands there is not shown: it may hold a password.
    problems.push(
      'DATABASE_URL: does not begin with postgres://; write postgres://user:password@host:5432/database',
    )
  }
  if (parsed.success && parsed.data.tokens.default_lifetime > parsed.data.tokens.max_lifetime) {
    problems.push(
      'tokens.default_lifetime: is longer than tokens.max_lifetime; lower the first or raise the second',
    )
  }
  if (problems.length > 0 || !parsed.success) {
    if (document.errors.length === 0) problems.push(...deadRulesIn(value))
    throw new AppError(
      'invalid_input',
      `${from.name} cannot be used:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    )
  }
  return {
    file: parsed.data,
    origin: {
      path: resolve(from.name),
      found: text === undefined ? 'no file' : saysNothing(value) ? 'nothing' : 'settings',
      namesSources: Object.hasOwn(value, 'sources'),
    },
    baseDir: from.baseDir,
    stateDir: resolve(from.baseDir, parsed.data.state_dir),
    digest: digestJson(value),
    databaseUrl,
    peppers,
    slack,
    upstreamCas: from.withUpstreamCas === true ? cas.texts : undefined,
  }
}

const namedCas = z.object({ egress: z.object({ upstream_ca_files: z.array(z.string()) }) })

function saysNothing(value: unknown): boolean {
  return value !== null && typeof value === 'object' && Object.keys(value).length === 0
}

/** The text of a configuration file; undefined for one that is not there and need not be. */
export function readConfigText(path: string, mustExist: boolean): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (!mustExist && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new AppError(
      'invalid_input',
      `cannot read the configuration ${path}; give --config or TOOLCRIB_CONFIG a readable file`,
      {
        cause: error,
      },
    )
  }
}

const oneDocument = 'a second document begins here; one file is one document, so take out the line `---`'

/**
 * What is wrong with the writing itself. Behind the first sign in a wrong place the reader has lost its way: all that
 * it says after that is an echo, a line for each word of the file.
 */
function syntaxProblems(errors: readonly YAMLParseError[]): string[] {
  const lost = errors.findIndex(({ code }) => code === 'UNEXPECTED_TOKEN')
  return errors.slice(0, lost === -1 ? undefined : lost + 1).map(({ code, message, linePos }) => {
    const { line = '?', col = '?' } = linePos?.[0] ?? {}
    if (code === 'MULTIPLE_DOCS') return `line ${line}: ${oneDocument}`
    const what = message.replace(/(?: at line \d+, column \d+)?:?\n[^]*$/, '')
    const cure = code === 'UNEXPECTED_TOKEN' ? '; a text that holds { } [ ] , : or # is put into quotes' : ''
    return `line ${line}, column ${col}: ${what}${cure}`
  })
}

/** One problem as a line: where, what, and what would work. */
function explain({ path, message }: z.core.$ZodIssue): string {
  return `${path.length === 0 ? 'top level' : path.map(String).join('.')}: ${message}`
}

/** Where the commands that speak to a server find it; `cli/` reads the key file itself. */
export function cliEnvironment(environment: Environment) {
  return {
    url: environment.TOOLCRIB_URL,
    adminKey: environment.TOOLCRIB_ADMIN_KEY,
    adminKeyFile: environment.TOOLCRIB_ADMIN_KEY_FILE,
  }
}

/** `NAME`, or the content of the file that `NAME_FILE` names, without its last newline. Empty counts as unset. */
function readSecret(environment: Environment, name: string, problems: string[]): Secret | undefined {
  const path = environment[`${name}_FILE`]
  if (environment[name] && path) problems.push(`${name}: set either ${name} or ${name}_FILE, not both`)
  if (environment[name]) return new Secret(environment[name])
  if (!path) return undefined
  try {
    const value = readFileSync(path, 'utf8').replace(/\r?\n$/, '')
    // As a key it would be one that everybody knows.
    if (value === '') problems.push(`${name}_FILE: "${path}" is empty`)
    return new Secret(value)
  } catch {
    problems.push(`${name}_FILE: cannot read "${path}"`)
    return undefined
  }
}

function readSlack(
  environment: Environment,
  secret: (name: string) => Secret | undefined,
  problems: string[],
): SlackConfig | undefined {
  const [botToken, signingSecret, appToken] = [
    'SLACK_BOT_TOKEN',
    'SLACK_SIGNING_SECRET',
    'SLACK_APP_TOKEN',
  ].map(secret)
  if (botToken === undefined && signingSecret === undefined && appToken === undefined) return undefined
  if (botToken === undefined)
    problems.push('SLACK_BOT_TOKEN: is missing; it begins with xoxb- and stands under "OAuth & Permissions"')
  if (signingSecret === undefined && appToken === undefined) {
    problems.push(
      'SLACK_SIGNING_SECRET or SLACK_APP_TOKEN: one is needed, to hear Slack over HTTP or over Socket Mode',
    )
  }
  if (botToken === undefined) return undefined
  return {
    botToken,
    signingSecret: signingSecret ?? new Secret(''),
    appToken,
    apiUrl: environment.SLACK_API_URL,
  }
}

/** `id:secret`, several separated by commas, the current one first. */
function readPeppers(text: Secret | undefined, problems: string[]): Config['peppers'] {
  if (text === undefined) return undefined
  return text
    .reveal()
    .split(',')
    .map((part) => {
      const [id = '', value = ''] = part.trim().split(':')
      if (!/^[a-z0-9-]{1,20}$/.test(id) || value.length < 32) {
        problems.push(
          'TOOLCRIB_PEPPERS: write id:secret with an id of a-z, 0-9 and - and a secret of at least 32 characters',
        )
      }
      return { id, value: new Secret(value) }
    })
}
