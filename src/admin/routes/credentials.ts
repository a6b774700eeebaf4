import { z } from 'zod'
import { AppError, Secret } from '../../core/index.ts'
import type { AdminDeps, CredentialPlace } from '../deps.ts'
import { findPerson } from '../person.ts'
import { type Route, route } from '../route.ts'
import { credential, credentialName, credentialValue, personName } from '../shapes.ts'

/** At most one of the two; neither means everybody. */
const owner = {
  for: personName.optional().describe('Only for this person.'),
  profile: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]{0,63}$/, 'use capitals, digits and underscores')
    .optional()
    .describe('Only for this profile.'),
}
const notBoth = {
  check: (value: { for?: string | undefined; profile?: string | undefined }) =>
    value.for === undefined || value.profile === undefined,
  message: 'give "for" or "profile", not both',
}
const one = z.object({ name: credentialName })
const place = z.object({
  name: z.string(),
  scope: z.enum(['global', 'profile', 'principal']),
  scopeId: z.string(),
})

/** Values go in and never come out: no route answers with one, and no other room could give it. */
export const credentialRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/credentials',
    operationId: 'listCredentials',
    summary: 'Names of credentials and whom they are for; never a value.',
    response: z.object({ credentials: z.array(credential) }),
    handle: async ({ credentials }) => ({
      credentials: (await credentials.list()).map((facts) => ({
        ...facts,
        updatedAt: facts.updatedAt.toISOString(),
      })),
    }),
  }),
  route({
    method: 'GET',
    path: '/credentials/:name',
    operationId: 'lookAtCredential',
    summary: 'Who would read a credential, to ask before its value is; refused where setting it would be.',
    params: one,
    query: z.strictObject(owner).refine(notBoth.check, notBoth.message),
    response: place.extend({
      readBy: z.array(z.string()).describe('Sources that are enabled and read a credential of this name.'),
      near: z.array(z.string()).describe('Where none does: names that come close and that one reads.'),
    }),
    async handle(deps, { params, query }) {
      const where = await whose(deps, params.name, query)
      return { ...where, ...(await deps.credentials.lookAt(where)) }
    },
  }),
  route({
    method: 'PUT',
    path: '/credentials/:name',
    operationId: 'setCredential',
    summary: 'Seal a value to the egress proxy and store it, in place of the one that was there.',
    params: one,
    body: z.strictObject({ value: credentialValue, ...owner }).refine(notBoth.check, notBoth.message),
    response: place,
    async handle(deps, { params, body }, { by }) {
      const where = await whose(deps, params.name, body)
      await deps.credentials.seal(where.name, where.scope, where.scopeId, new Secret(body.value), by)
      return where
    },
  }),
  route({
    method: 'DELETE',
    path: '/credentials/:name',
    operationId: 'removeCredential',
    summary: 'Forget a credential; what needs it is refused from the next request on.',
    params: one,
    query: z.strictObject(owner).refine(notBoth.check, notBoth.message),
    response: place,
    async handle(deps, { params, query }, { by }) {
      const where = await whose(deps, params.name, query)
      if (await deps.credentials.remove(where, by)) return where
      const whom = where.scope === 'global' ? 'for everybody' : `for the ${where.scope} ${where.scopeId}`
      throw new AppError('not_found', `There is no credential ${where.name} ${whom}.`)
    },
  }),
]

async function whose(
  { access }: AdminDeps,
  name: string,
  asked: { for?: string | undefined; profile?: string | undefined },
): Promise<CredentialPlace> {
  if (asked.profile !== undefined) return { name, scope: 'profile', scopeId: asked.profile }
  if (asked.for === undefined) return { name, scope: 'global', scopeId: '' }
  const person = findPerson(await access.listPrincipals(), asked.for)
  return { name, scope: 'principal', scopeId: person.id }
}
