import { z } from 'zod'
import type { IssuedToken, TokenRow } from '../../access/index.ts'
import { parseDuration, type TokenId } from '../../core/index.ts'
import type { AdminDeps } from '../deps.ts'
import { findPerson } from '../person.ts'
import { type Route, route } from '../route.ts'
import { cause, idText, issuedToken, personName, token } from '../shapes.ts'
import { viewPerson } from './people.ts'

const issueBody = z
  .strictObject({
    for: personName.optional(),
    principalId: idText.optional(),
    lifetime: z.string().max(20).optional().describe('`30m`, `12h`, `7d`; the default when left out.'),
    toolkit: z.string().max(60).optional(),
    requestKey: z
      .string()
      .min(1)
      .max(100)
      .optional()
      .describe('The same key again makes no second token: the secret of the first is replaced.'),
  })
  .refine((body) => (body.for === undefined) !== (body.principalId === undefined), {
    message: 'give "for" or "principalId"',
  })
const one = z.object({ id: idText })
const ending = z.strictObject({ cause: cause.optional() })

export const tokenRoutes: Route[] = [
  route({
    method: 'POST',
    path: '/tokens',
    operationId: 'issueToken',
    summary: 'Issue a token for a person. The answer is the only time that it can be seen.',
    status: 201,
    body: issueBody,
    response: issuedToken,
    async handle({ access }, { body }, { by }) {
      const person = findPerson(await access.listPrincipals(), body.for ?? body.principalId ?? '')
      const { lifetime, toolkit, requestKey } = body
      return viewIssued(
        await access.issue({
          principalId: person.id,
          by,
          ...(lifetime === undefined ? {} : { lifetimeMs: parseDuration(lifetime) }),
          ...(toolkit === undefined ? {} : { toolkit }),
          ...(requestKey === undefined ? {} : { requestKey: `${by}: ${requestKey}` }),
        }),
      )
    },
  }),
  route({
    method: 'GET',
    path: '/tokens',
    operationId: 'listTokens',
    summary: 'Tokens, newest first: everybody’s or one person’s, live ones or all.',
    query: z.strictObject({
      for: personName.optional(),
      includeEnded: z.enum(['true', 'false']).default('false'),
    }),
    response: z.object({ tokens: z.array(token) }),
    async handle({ access }, { query }) {
      const people = await access.listPrincipals()
      const names = new Map(people.map((person) => [person.id, person.name]))
      const rows = await access.list({
        ...(query.for === undefined ? {} : { principalId: findPerson(people, query.for).id }),
        includeEnded: query.includeEnded === 'true',
      })
      return { tokens: rows.map((row) => viewToken(row, names.get(row.principalId) ?? '')) }
    },
  }),
  route({
    method: 'POST',
    path: '/tokens/:id/revoke',
    operationId: 'revokeToken',
    summary: 'End a token; it is refused on the next request everywhere. Again does nothing.',
    params: one,
    body: ending,
    response: z.object({ id: z.string() }),
    handle: (deps, { params, body }, { by }) => revoke(deps, params.id, by, body.cause),
  }),
  route({
    method: 'DELETE',
    path: '/tokens/:id',
    operationId: 'deleteToken',
    summary: 'The same as revoking it; its record stays.',
    params: one,
    response: z.object({ id: z.string() }),
    handle: (deps, { params }, { by }) => revoke(deps, params.id, by, undefined),
  }),
  route({
    method: 'POST',
    path: '/tokens/:id/rotate',
    operationId: 'rotateToken',
    summary: 'A new token with the same toolkit and length of life; the old one is dead when this answers.',
    status: 201,
    params: one,
    body: z.strictObject({}),
    response: issuedToken,
    handle: async ({ access }, { params }, { by }) =>
      viewIssued(await access.rotate({ tokenId: params.id as TokenId, by })),
  }),
]

async function revoke(deps: AdminDeps, id: string, by: string, because: string | undefined) {
  await deps.access.revoke(id as TokenId, by, because ?? 'revoked by an admin')
  return { id }
}

function viewIssued(issued: IssuedToken): z.input<typeof issuedToken> {
  return {
    id: issued.id,
    token: issued.token.reveal(),
    expiresAt: issued.expiresAt.toISOString(),
    toolkit: issued.toolkit,
    person: viewPerson(issued.principal),
  }
}

function viewToken(row: TokenRow, principalName: string): z.input<typeof token> {
  const ended = row.expiresAt.getTime() <= Date.now() ? 'expired' : 'live'
  return {
    ...row,
    principalName,
    issuedAt: row.issuedAt.toISOString(),
    expiresAt: row.expiresAt.toISOString(),
    revokedAt: row.revokedAt?.toISOString() ?? null,
    lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
    state: row.revokedAt === null ? ended : 'revoked',
  }
}
