import { z } from 'zod'
import { AppError } from '../../core/index.ts'
import { findPerson } from '../person.ts'
import { type Route, route } from '../route.ts'
import { cause, personName, runner } from '../shapes.ts'

export const runnerRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/runners',
    operationId: 'listRunners',
    summary: 'Every runner, its state, and why it is in that state.',
    response: z.object({ runners: z.array(runner) }),
    handle: async ({ runners }) => ({
      runners: (await runners.list()).map((view) => ({
        ...view,
        lastActivityAt: view.lastActivityAt.toISOString(),
        stateSince: view.stateSince.toISOString(),
      })),
    }),
  }),
  route({
    method: 'POST',
    path: '/runners/:runner/stop',
    operationId: 'stopRunner',
    summary: 'End a sandbox, named by its runner id or its person. The home stays; the next call wakes it.',
    params: z.object({ runner: personName }),
    body: z.strictObject({ cause: cause.optional() }),
    response: z.object({ id: z.string(), principalId: z.string() }),
    async handle({ access, runners }, { params, body }, { by }) {
      const all = await runners.list()
      let found = all.find((view) => view.id === params.runner)
      if (found === undefined && !params.runner.startsWith('run_')) {
        const owner = findPerson(await access.listPrincipals(), params.runner)
        found = all.find((view) => view.principalId === owner.id)
      }
      if (found === undefined) {
        throw new AppError('not_found', `There is no runner ${JSON.stringify(params.runner.slice(0, 60))}.`)
      }
      await runners.stop(found.principalId, `${by}: ${body.cause ?? 'stopped by an admin'}`)
      return { id: found.id, principalId: found.principalId }
    },
  }),
]
