import { z } from 'zod'
import type { Principal } from '../../access/index.ts'
import { findPerson } from '../person.ts'
import { type Route, route } from '../route.ts'
import { cause, person, personName, slackTeam, slackUser } from '../shapes.ts'

const who = z.object({ person: personName })
const because = z.strictObject({ cause: cause.optional() })

export const peopleRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/people',
    operationId: 'listPeople',
    summary: 'Everybody who is known here, by name.',
    response: z.object({ people: z.array(person) }),
    handle: async ({ access }) => ({
      people: (await access.listPrincipals()).filter(({ kind }) => kind === 'person').map(viewPerson),
    }),
  }),
  route({
    method: 'POST',
    path: '/people',
    operationId: 'addPerson',
    summary:
      'Make a person known before they have written to the Slack app; again: the same, with this name.',
    status: 201,
    body: z.strictObject({ slackTeam, slackUser, name: personName }),
    response: person,
    handle: async ({ access }, { body }) => viewPerson(await access.ensurePrincipal(body)),
  }),
  route({
    method: 'POST',
    path: '/people/:person/deactivate',
    operationId: 'deactivatePerson',
    summary: 'End all tokens of a person at once and give no new ones until reactivated.',
    params: who,
    body: because,
    response: person,
    async handle({ access }, { params, body }, { by }) {
      const found = findPerson(await access.listPrincipals(), params.person)
      await access.deactivate(found.id, by, body.cause ?? 'deactivated by an admin')
      return viewPerson({ ...found, state: 'deactivated' })
    },
  }),
  route({
    method: 'POST',
    path: '/people/:person/reactivate',
    operationId: 'reactivatePerson',
    summary: 'Let a person have tokens again; those that were revoked stay revoked.',
    params: who,
    body: z.strictObject({}),
    response: person,
    async handle({ access }, { params }, { by }) {
      const found = findPerson(await access.listPrincipals(), params.person)
      await access.reactivate(found.id, by)
      return viewPerson({ ...found, state: 'active' })
    },
  }),
  route({
    method: 'POST',
    path: '/people/:person/revoke-all',
    operationId: 'revokeAllTokens',
    summary: 'End all tokens of a person; new ones can be issued at once.',
    params: who,
    body: because,
    response: z.object({ person, revoked: z.number().int() }),
    async handle({ access }, { params, body }, { by }) {
      const found = findPerson(await access.listPrincipals(), params.person)
      const revoked = await access.revokeAll(found.id, by, body.cause ?? 'all revoked by an admin')
      return { person: viewPerson(found), revoked }
    },
  }),
]

export function viewPerson(principal: Principal): z.input<typeof person> {
  const { id, name, slackTeam, slackUser, state } = principal
  return { id, name, slackTeam, slackUser, state }
}
