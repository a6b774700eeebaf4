import { z } from 'zod'
import { AppError } from '../../core/index.ts'
import type { AdminDeps } from '../deps.ts'
import { type Route, route } from '../route.ts'
import { tool } from '../shapes.ts'

const one = z.object({ alias: z.string().min(1).max(40) })

export const toolRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/tools',
    operationId: 'listTools',
    summary: 'Every tool that discovery found, with its review and whether it can be called.',
    response: z.object({ tools: z.array(tool) }),
    handle: async ({ catalog }) => ({ tools: (await catalog.listTools()).map(viewTool) }),
  }),
  route({
    method: 'POST',
    path: '/tools/:alias/accept',
    operationId: 'acceptTool',
    summary: 'Make the definition with this digest callable; refused when discovery has found another since.',
    params: one,
    body: z.strictObject({ definitionDigest: z.string().min(1).max(100) }),
    response: tool,
    async handle(deps, { params, body }, { by }) {
      await requireTool(deps, params.alias)
      await deps.catalog.acceptTool(params.alias, body.definitionDigest, by)
      return await requireTool(deps, params.alias)
    },
  }),
  ...([true, false] as const).map((enabled) =>
    route({
      method: 'POST',
      path: `/tools/:alias/${enabled ? 'enable' : 'disable'}`,
      operationId: enabled ? 'enableTool' : 'disableTool',
      summary: enabled
        ? 'Let a tool be called, once its definition is accepted.'
        : 'Refuse every call of a tool from the next request on.',
      params: one,
      body: z.strictObject({}),
      response: tool,
      async handle(deps, { params }, { by }) {
        await requireTool(deps, params.alias)
        await deps.catalog.setToolEnabled(params.alias, enabled, by)
        return await requireTool(deps, params.alias)
      },
    }),
  ),
]

async function requireTool({ catalog }: AdminDeps, alias: string): Promise<z.input<typeof tool>> {
  const found = (await catalog.listTools()).find((candidate) => candidate.alias === alias)
  if (found !== undefined) return viewTool(found)
  throw new AppError(
    'not_found',
    `There is no tool ${JSON.stringify(alias)}; GET /admin/v1/tools lists them.`,
  )
}

function viewTool(
  found: Awaited<ReturnType<AdminDeps['catalog']['listTools']>>[number],
): z.input<typeof tool> {
  const accepted = found.acceptedDigest === found.definitionDigest
  return {
    ...found,
    review: accepted ? 'accepted' : found.acceptedDigest === null ? 'new' : 'changed',
    callable: accepted && found.configured && found.available && found.enabled,
  }
}
