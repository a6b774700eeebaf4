import { z } from 'zod'
import { canonicalAddress } from './addresses.ts'
import { binding, parseSlot, slotsOverlap } from './binding.ts'
import { mintedSpecs, mintInputs, signInputs, signSpec } from './minted.ts'

/** Lower-case letters, digits and hyphens: names that people type. */
export const slug = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, 'use 1-40 of a-z, 0-9 and inner hyphens')
const pathPrefix = z.string().regex(/^\/[\x21-\x7e]*$/, 'start with "/", e.g. /v1/')
/** `WEBSOCKET` is what opens a WebSocket: on the wire a GET, but a pipe both ways, which no rule for GET means. */
const httpMethod = z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'WEBSOCKET'])
/** One canonical spelling: lower case, no trailing dot, no wildcard, not an IP address. */
const hostName = z
  .string()
  .max(253)
  .regex(
    /^(?!\d+(?:\.\d+){3}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    'use a lower-case host name such as api.example.com',
  )

/** One destination that a source may reach, and what is added on the way. Everything not named is refused. */
export const egressRule = z.strictObject({
  scheme: z.enum(['https', 'http']).default('https'),
  host: hostName,
  port: z.number().int().min(1).max(65535).optional(),
  methods: z.array(httpMethod).min(1),
  /** A prefix on segment borders: `/v1` covers `/v1` and `/v1/x`, not `/v10`. */
  paths: z.array(pathPrefix).min(1),
  /** Where the host really is; allows this one otherwise refused address for this rule and its `port` only. */
  address: canonicalAddress.optional(),
  inject: z.array(binding).default([]),
  /** A signature over the request, made after everything else is in place; https only. */
  sign: signSpec.optional(),
})
export type EgressRule = z.infer<typeof egressRule>

/** A configured provider of tools. `stdio`: an MCP server run inside the sandbox. Other kinds have their own issues. */
const sourceFields = z.strictObject({
  kind: z.literal('stdio'),
  command: z.string().min(1),
  args: z.array(z.string()).default([]),
  /** Plain values only; a secret here would be inside the sandbox. */
  environment: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string()).default({}),
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
/** What only the parts of a source together can get wrong. */
export const sourceSpec = sourceFields.superRefine(({ egress, minted, environment }, context) => {
  const issue = (path: PropertyKey[], message: string) => context.addIssue({ code: 'custom', path, message })
  const stored = (path: PropertyKey[], names: readonly string[]) => {
    for (const name of names) {
      if (Object.hasOwn(minted, name)) issue(path, `${name} is itself minted; name a stored credential`)
    }
  }
  const standIns = new Set(
    egress.flatMap(({ inject }) => inject.filter((each) => each.placeholder).map((each) => each.credential)),
  )
  for (const [name, value] of Object.entries(environment)) {
    for (const [whole, credential = ''] of value.matchAll(/\$\{placeholder:([^}]*)\}/g)) {
      if (!standIns.has(credential))
        issue(['environment', name], `${whole}: no rule of this source has \`placeholder: true\` for it`)
    }
  }
  for (const [name, spec] of Object.entries(minted)) {
    stored(['minted', name], mintInputs(spec))
    if (!egress.some((rule) => rule.inject.some((binding) => binding.credential === name))) {
      issue(['minted', name], 'no rule injects it; name it as the `credential` of one, or leave it out')
    }
  }
  for (const [index, { scheme, sign, address, port, inject }] of egress.entries()) {
    if (scheme !== 'https' && inject.length > 0) issue(['egress', index, 'inject'], 'inject on https only')
    const slots = inject.map(({ into }) => parseSlot(into))
    for (const [at, slot] of slots.entries()) {
      const other = slots.findIndex((each, i) => i < at && slot && each && slotsOverlap(slot, each))
      if (other === -1) continue
      issue(
        ['egress', index, 'inject', at, 'into'],
        `${inject[at]?.credential} would stand where ${inject[other]?.credential} does; give each a place of its own, or each a rule of its own`,
      )
    }
    if (sign !== undefined && slots.some((slot) => slot?.kind === 'body'))
      issue(
        ['egress', index, 'sign'],
        'a signature is over the body as the program sends it; inject elsewhere',
      )
    if (address !== undefined && port === undefined) {
      issue(['egress', index, 'address'], 'name the `port` too: an exception is one address and one port')
    }
    if (sign === undefined) continue
    stored(['egress', index, 'sign'], signInputs(sign))
    if (scheme !== 'https') issue(['egress', index, 'sign'], 'sign on https only')
  }
})
export type SourceSpec = z.infer<typeof sourceSpec>

export interface Source {
  id: string
  spec: SourceSpec
  specDigest: string
  enabled: boolean
}

/** One tool as discovery found it and the operator judged it. */
export interface Tool {
  alias: string
  sourceId: string
  remoteName: string
  /** Null until somebody accepted a definition. What clients see is the accepted one. */
  acceptedDigest: string | null
  definition: Record<string, unknown>
  definitionDigest: string
  available: boolean
  enabled: boolean
}

/** Everything configured and discovered, at one version; immutable. */
export interface Catalog {
  version: number
  sources: ReadonlyMap<string, Source>
  tools: ReadonlyMap<string, Tool>
  toolkits: ReadonlyMap<string, { slug: string; title: string; tools: string[] }>
  rules: readonly { tools: string; do: 'allow' | 'block'; reason?: string | undefined }[]
}
