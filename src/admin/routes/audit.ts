import { z } from 'zod'
import { type CallId, eventKinds } from '../../core/index.ts'
import { findPerson } from '../person.ts'
import { type Route, route } from '../route.ts'
import { event, idText, personName } from '../shapes.ts'

/** A query's number arrives as text. */
const whole = (max: number) =>
  z
    .string()
    .regex(/^[1-9]\d{0,15}$/, 'use a whole number from 1')
    .transform(Number)
    .refine((value) => value <= max, `use at most ${max}`)

const eventKind = z
  .string()
  .max(60)
  .refine((kind) => eventKinds.some((known) => known === kind), {
    error: ({ input }) => `there is no kind ${JSON.stringify(input)}; there are ${eventKinds.join(', ')}`,
  })

export const auditRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/events',
    operationId: 'listEvents',
    summary:
      'Audit events, newest first. `next` is the `before` of the following page, null on the last one.',
    query: z.strictObject({
      person: personName.optional(),
      call: idText.optional(),
      kind: eventKind.optional(),
      before: whole(Number.MAX_SAFE_INTEGER).optional(),
      limit: whole(500).default(100),
    }),
    response: z.object({ events: z.array(event), next: z.number().int().nullable() }),
    async handle({ access, events }, { query }) {
      const principalId =
        query.person === undefined ? undefined : findPerson(await access.listPrincipals(), query.person).id
      const found = await events.listEvents({
        principalId,
        callId: query.call as CallId | undefined,
        kind: query.kind,
        before: query.before,
        limit: query.limit + 1,
      })
      const page = found.slice(0, query.limit)
      return {
        events: page.map((row) => ({ ...row, at: row.at.toISOString() })),
        next: found.length > page.length ? (page.at(-1)?.id ?? null) : null,
      }
    },
  }),
]
