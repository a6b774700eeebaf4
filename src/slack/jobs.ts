import { z } from 'zod'
import type { TokenId } from '../core/index.ts'

const tokenId = z.string().transform((id) => id as TokenId)

const Ask = z.discriminatedUnion('verb', [
  z.object({
    verb: z.literal('issue'),
    lifetimeMs: z.number().int().positive().optional(),
    toolkit: z.string().optional(),
  }),
  z.object({ verb: z.literal('list') }),
  z.object({ verb: z.literal('revoke'), tokenId }),
  z.object({ verb: z.literal('rotate'), tokenId }),
  z.object({ verb: z.literal('help') }),
  z.object({ verb: z.literal('invalid'), given: z.string(), problem: z.string() }),
])

/** Where a person spoke to us. Only `dm` is theirs alone; after a `command` the pointer was given at once. */
const Place = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('dm') }),
  z.object({ kind: z.literal('command') }),
  z.object({ kind: z.literal('mention'), channel: z.string(), threadTs: z.string().optional() }),
])

/** Work that outlives this process. A payload holds ids and words, never a secret. */
export const Job = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('answer'),
    team: z.string(),
    user: z.string(),
    app: z.string().optional(),
    place: Place,
    ask: Ask,
  }),
  z.object({
    kind: z.literal('point'),
    channel: z.string(),
    user: z.string(),
    threadTs: z.string().optional(),
    text: z.string(),
  }),
  z.object({ kind: z.literal('delete'), channel: z.string(), ts: z.string() }),
  z.object({ kind: z.literal('home'), team: z.string(), user: z.string() }),
])

export type Job = z.infer<typeof Job>
export type AnswerJob = Extract<Job, { kind: 'answer' }>
export type Place = AnswerJob['place']
