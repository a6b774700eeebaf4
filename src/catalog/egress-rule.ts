import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { z } from 'zod'
import { canonicalAddress } from './addresses.ts'
import { binding, credentialName } from './binding.ts'
import { canonicalHost, schemePort } from './hosts.ts'
import { signSpec } from './minted.ts'
import { canonicalPath } from './paths.ts'

/** `WEBSOCKET` is what opens a WebSocket: on the wire a GET, but a pipe both ways, which no rule for GET means. */
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'WEBSOCKET'] as const
const httpMethod = z.enum(methods, {
  error: ({ input }) => {
    const meant = methods.find((method) => method === String(input).toUpperCase())
    return meant === undefined
      ? `use ${methods.slice(0, -1).join(', ')} or ${methods.at(-1)}`
      : `write ${meant}`
  },
})
/** In the one spelling of a path that requests are brought to: a prefix in another would match none of them. */
const pathPrefix = z
  .string()
  .refine((prefix) => pathProblem(prefix) === undefined, { error: ({ input }) => pathProblem(String(input)) })
/** In the one spelling of a host that requests are brought to; no wildcard, no address. */
const hostName = z
  .string()
  .refine((host) => hostProblem(host) === undefined, { error: ({ input }) => hostProblem(String(input)) })

function pathProblem(prefix: string): string | undefined {
  if (!prefix.startsWith('/')) return 'start with "/", e.g. /v1/'
  const canonical = canonicalPath(prefix)
  if (!canonical.ok)
    return canonical.reason === 'path_malformed'
      ? 'use printable ASCII, and percent-encode the rest; a path has no fragment'
      : 'servers could read the path in two ways: write no dot segments, "//", "\\\\", ";" or encoded separators, and of one with "%2F" what stands before that segment'
  if (canonical.query !== '') return 'leave out the query: rules match paths only'
  if (prefix.includes('*'))
    return `a path is a prefix, without wildcards: write ${beforeWildcard(prefix)}, which covers all below it; where an asterisk itself is meant, write %2A`
  return canonical.path === prefix ? undefined : `write it as requests have it: ${canonical.path}`
}

/** `/v1` of `/v1/*`. */
function beforeWildcard(prefix: string): string {
  return prefix.slice(0, prefix.lastIndexOf('/', prefix.indexOf('*'))) || '/'
}

function hostProblem(host: string): string | undefined {
  if (host.includes('*')) return 'write every host out; there are no wildcards'
  const canonical = canonicalHost(host)
  if (canonical.ok && isIP(canonical.host) !== 0)
    return 'write a name; where it really is goes into `address`, with its `port`'
  if (canonical.ok && canonical.host === host && host.includes('.')) return undefined
  const meant = canonicalHost(domainToASCII(host.replace(/\.$/, '')))
  if (meant.ok && meant.host.includes('.') && isIP(meant.host) === 0)
    return `write it as requests have it: ${meant.host}`
  const inside = hostInside(host)
  return inside === undefined
    ? 'use a lower-case host name with a dot, such as api.example.com'
    : `write the name alone, ${inside}; the rest of an address goes into \`scheme\`, \`port\` and \`paths\``
}

/** The host of what is an address, or a host with its port. */
function hostInside(text: string): string | undefined {
  const address = /^https?:\/\//.test(text) ? text : `https://${text}`
  const found = URL.canParse(address) ? canonicalHost(new URL(address).hostname) : { ok: false as const }
  return found.ok && found.host.includes('.') && isIP(found.host) === 0 ? found.host : undefined
}

/** One destination that a source may reach, and what is added on the way. Everything not named is refused. */
export const egressRule = z.strictObject({
  scheme: z.enum(['https', 'http']).default('https'),
  host: hostName,
  port: z.number().int().min(1).max(65535).optional(),
  /** False: TLS is not ended here. The proxy then sees host, port and bytes, and adds nothing. */
  intercept: z.boolean().default(true),
  methods: z.array(httpMethod).default([]),
  /** A prefix on segment borders: `/v1` covers `/v1` and `/v1/x`, not `/v10`. */
  paths: z.array(pathPrefix).default([]),
  /** Where the host really is; allows this one otherwise refused address for this rule and its `port` only. */
  address: canonicalAddress.optional(),
  inject: z.array(binding).default([]),
  /** The credential, a private key with its certificate, that is shown to an upstream that asks for one; https only. */
  client_certificate: credentialName.optional(),
  /** A signature over the request, made after everything else is in place; https only. */
  sign: signSpec.optional(),
})
export type EgressRule = z.infer<typeof egressRule>

/** The port that a rule means: its own, or its scheme's. */
export function rulePort({ scheme, port }: Pick<EgressRule, 'scheme' | 'port'>): number {
  return port ?? schemePort(scheme)
}
