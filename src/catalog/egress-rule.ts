import { z } from 'zod'
import { canonicalAddress } from './addresses.ts'
import { binding } from './binding.ts'
import { signSpec } from './minted.ts'

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
