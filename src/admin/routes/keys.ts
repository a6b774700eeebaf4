import { z } from 'zod'
import type { AdminKeyId } from '../../core/index.ts'
import { type Route, route } from '../route.ts'
import { adminKey, idText } from '../shapes.ts'

export const keyRoutes: Route[] = [
  route({
    method: 'GET',
    path: '/keys',
    operationId: 'listAdminKeys',
    summary: 'Admin keys, oldest first, without their secrets.',
    response: z.object({ keys: z.array(adminKey) }),
    handle: async ({ adminKeys }) => ({
      keys: (await adminKeys.list()).map((key) => ({
        ...key,
        createdAt: key.createdAt.toISOString(),
        revokedAt: key.revokedAt?.toISOString() ?? null,
        lastUsedAt: key.lastUsedAt?.toISOString() ?? null,
      })),
    }),
  }),
  route({
    method: 'POST',
    path: '/keys',
    operationId: 'createAdminKey',
    summary: 'Make an admin key. The answer is the only time that it can be seen.',
    status: 201,
    body: z.strictObject({ name: z.string().trim().min(1).max(60) }),
    response: z.object({ id: z.string(), name: z.string(), key: z.string() }),
    async handle({ adminKeys }, { body }, { by }) {
      const { id, key } = await adminKeys.create(body.name, by)
      return { id, name: body.name, key: key.reveal() }
    },
  }),
  route({
    method: 'POST',
    path: '/keys/:id/revoke',
    operationId: 'revokeAdminKey',
    summary: 'End an admin key; the last live one cannot be ended.',
    params: z.object({ id: idText }),
    body: z.strictObject({}),
    response: z.object({ id: z.string() }),
    async handle({ adminKeys }, { params }, { by }) {
      await adminKeys.revoke(params.id as AdminKeyId, by)
      return { id: params.id }
    },
  }),
]
