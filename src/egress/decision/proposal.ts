import { type EgressRule, egressRule } from '../../catalog/index.ts'
import { AppError } from '../../core/index.ts'
import { parseAuthority } from '../request/host.ts'
import { canonicalPath } from '../request/path.ts'
import type { Tuple } from '../request/tuple.ts'
import { decideEgress } from './decide.ts'

/** The rule that would let a request through, as a person writes it: without what goes without saying. */
export type ProposedRule = Partial<EgressRule> & Pick<EgressRule, 'host' | 'methods' | 'paths'>

export type Proposal = { allowedBy: string } | { rule: ProposedRule }

/**
 * What to add to `rules` so that `method url` is let through, or which of them does already. Throws `invalid_input`
 * that says what would work, for what no rule can name.
 */
export function proposeRule(method: string, url: string, rules: readonly EgressRule[]): Proposal {
  const tuple = wanted(method, url)
  const decision = decideEgress(tuple, rules)
  if (decision.allow) return { allowedBy: decision.rule }
  const { scheme, host, port, path } = tuple
  const usual = port === (scheme === 'https' ? 443 : 80)
  const rule = {
    ...(scheme === 'https' ? {} : { scheme }),
    host,
    ...(usual ? {} : { port }),
    methods: [tuple.method] as EgressRule['methods'],
    paths: [path],
  }
  const checked = egressRule.safeParse(rule)
  if (checked.success) return { rule }
  const [issue] = checked.error.issues
  throw new AppError(
    'invalid_input',
    `no rule can allow ${method} ${url}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`,
  )
}

function wanted(method: string, url: string): Tuple {
  const bad = (why: string) =>
    new AppError(
      'invalid_input',
      `${JSON.stringify(url)} ${why}; write it as in https://api.example.com/v1/orders`,
    )
  const match = /^(https?):\/\/([^/?#]+)([^?#]*)/i.exec(url)
  if (match === null) throw bad('is no http or https address')
  const [, scheme = '', rawAuthority = '', rawPath = ''] = match
  const authority = parseAuthority(rawAuthority.toLowerCase())
  if (!authority.ok) throw bad('has a host that no request may name')
  const path = canonicalPath(rawPath === '' ? '/' : rawPath)
  if (!path.ok) throw bad(`has a path that is refused whatever the rules say (${path.reason})`)
  const secure = scheme.toLowerCase() === 'https'
  return {
    scheme: secure ? 'https' : 'http',
    host: authority.host,
    port: authority.port ?? (secure ? 443 : 80),
    method: method.toUpperCase(),
    path: path.path,
    query: '',
  }
}
