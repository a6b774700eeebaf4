import { z } from 'zod'
import { isCertificatePem, isKeyPem } from '../core/index.ts'

/** How a person is named: `alice`, `@alice`, a Slack user id or a principal id; person.ts resolves it. */
export const personName = z.string().trim().min(1).max(200)
export const slackTeam = z.string().regex(/^[TE][A-Z0-9]{1,30}$/, 'a Slack team id, e.g. T0123ABCD')
export const slackUser = z.string().regex(/^[UW][A-Z0-9]{1,30}$/, 'a Slack user id, e.g. U0123ABCD')
export const idText = z.string().min(1).max(64)
export const cause = z.string().trim().min(1).max(200)
export const time = z.iso.datetime()

/** Spelling of a credential's name, as the catalog's rules refer to it. */
export const credentialName = z
  .string()
  .max(100)
  .regex(/^[A-Z][A-Z0-9_]*$/, 'use capitals, digits and underscores, e.g. ORDERS_KEY')

/**
 * What may stand in a header: no line break and no NUL, because a value with one is cut or refused on the wire. A
 * private key in PEM has line breaks; it is for signing or for TLS and never stands in a header.
 */
export const credentialValue = z
  .string()
  .min(1, 'the value is empty')
  .max(65_536, 'the value is longer than 65,536 characters')
  .refine(
    (value) => !isCertificatePem(value),
    'the value is a certificate without its private key; give the private key before the certificate',
  )
  .refine(
    (value) => isCertificatePem(value) || !/[\r\n\0]/.test(value) || isKeyPem(value),
    'the value contains a line break or NUL, and is no private key in PEM',
  )

export const person = z.object({
  id: z.string(),
  name: z.string(),
  slackTeam: z.string().nullable(),
  slackUser: z.string().nullable(),
  state: z.enum(['active', 'deactivated']),
})

export const token = z.object({
  id: z.string(),
  principalId: z.string(),
  principalName: z.string(),
  toolkit: z.string().nullable(),
  issuedAt: time,
  expiresAt: time,
  revokedAt: time.nullable(),
  lastUsedAt: time.nullable(),
  lastUsedClient: z.string().nullable(),
  lastUsedAddress: z.string().nullable(),
  state: z.enum(['live', 'expired', 'revoked']),
})

export const issuedToken = z.object({
  id: z.string(),
  token: z.string().describe('Shown once; it cannot be read again.'),
  expiresAt: time,
  toolkit: z.string().nullable(),
  person,
})

export const runner = z.object({
  id: z.string(),
  principalId: z.string(),
  principalName: z.string(),
  state: z.string(),
  phase: z.string().nullable(),
  generation: z.number().int(),
  isolation: z.string().nullable().describe('`none` means that nothing separates it from this machine.'),
  holds: z.number().int(),
  lastActivityAt: time,
  stateSince: time,
  message: z.string().nullable().describe('Why it is in this state, in one sentence.'),
})

export const tool = z.object({
  alias: z.string(),
  sourceId: z.string(),
  remoteName: z.string(),
  review: z.enum(['accepted', 'changed', 'new']).describe('Only an accepted definition is callable.'),
  configured: z.boolean().describe('Whether its source is in the configuration.'),
  available: z.boolean(),
  enabled: z.boolean(),
  callable: z.boolean(),
  definition: z.record(z.string(), z.unknown()),
  definitionDigest: z.string(),
  acceptedDigest: z.string().nullable(),
  changes: z
    .array(
      z.object({
        path: z
          .string()
          .describe(
            '`/definition/…` of the tool, `/destination/…` of where it may send data, `/anywhere` in warn mode.',
          ),
        before: z.unknown().optional(),
        after: z.unknown().optional(),
      }),
    )
    .describe('From what was accepted, or from nothing, to what would be; empty when it is the same.'),
})

export const credential = z.object({
  name: z.string(),
  scope: z.enum(['global', 'profile', 'principal']),
  scopeId: z.string(),
  keyId: z.string(),
  updatedAt: time,
  updatedBy: z.string(),
})

export const event = z.object({
  id: z.number().int(),
  at: time,
  kind: z.string(),
  principalId: z.string().nullable(),
  tokenId: z.string().nullable(),
  callId: z.string().nullable(),
  data: z.record(z.string(), z.unknown()),
})

export const check = z.object({
  name: z.string(),
  ok: z.boolean(),
  detail: z.string(),
  cure: z.string().nullable(),
})

export const adminKey = z.object({
  id: z.string(),
  name: z.string(),
  createdAt: time,
  revokedAt: time.nullable(),
  lastUsedAt: time.nullable(),
})

export const errorBody = z.object({
  error: z.object({
    code: z.string().describe('See docs/reference/errors.md.'),
    message: z.string(),
    details: z.record(z.string(), z.unknown()),
  }),
})
