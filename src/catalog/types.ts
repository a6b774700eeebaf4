import { z } from 'zod'
import type { SourceSpec } from './source-spec.ts'

/** Lower-case letters, digits and hyphens: names that people type. */
export const slug = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, 'use 1-40 of a-z, 0-9 and inner hyphens')
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
