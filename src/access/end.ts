import { AppError, type PrincipalId } from '../core/index.ts'
import {
  appendEvents,
  type Executor,
  findToken,
  lockPrincipal,
  notify,
  type PrincipalRow,
  revokeTokens,
  type Store,
  setPrincipalState,
} from '../store/index.ts'
import type { Access } from './types.ts'

type Ending = Pick<Access, 'revoke' | 'revokeAll' | 'deactivate' | 'reactivate'>

/** Takes tokens away. Each in one transaction with its events and notices; again does nothing. */
export function createEnding({ store }: { store: Store }): Ending {
  const { db } = store
  return {
    async revoke(id, by, cause) {
      await db.transaction().execute(async (trx) => {
        if ((await end(trx, { id }, by, cause)) > 0) return
        if ((await findToken(trx, id)) === undefined)
          throw new AppError('not_found', `There is no token ${id}.`)
      })
    },

    async revokeAll(principalId, by, cause) {
      return await db.transaction().execute(async (trx) => {
        requirePerson(await lockPrincipal(trx, principalId, 'update'), principalId)
        return await end(trx, { principalId }, by, cause)
      })
    },

    async deactivate(principalId, by, cause) {
      await db.transaction().execute(async (trx) => {
        const principal = requirePerson(await lockPrincipal(trx, principalId, 'update'), principalId)
        if (principal.state === 'deactivated') return
        await setPrincipalState(trx, principalId, 'deactivated')
        await appendEvents(trx, [{ kind: 'principal.deactivated', principalId, data: { by, cause } }])
        await end(trx, { principalId }, by, cause)
        await notify(trx, { kind: 'principal', id: principalId })
      })
    },

    async reactivate(principalId, by) {
      await db.transaction().execute(async (trx) => {
        const principal = requirePerson(await lockPrincipal(trx, principalId, 'update'), principalId)
        if (principal.state === 'active') return
        await setPrincipalState(trx, principalId, 'active')
        await appendEvents(trx, [{ kind: 'principal.reactivated', principalId, data: { by } }])
        await notify(trx, { kind: 'principal', id: principalId })
      })
    },
  }
}

/** Returns how many were live until now. */
async function end(
  trx: Executor,
  filter: Parameters<typeof revokeTokens>[1],
  by: string,
  cause: string,
): Promise<number> {
  const ended = await revokeTokens(trx, filter, cause)
  await appendEvents(
    trx,
    ended.map(({ id, principalId }) => ({
      kind: 'token.revoked' as const,
      principalId,
      tokenId: id,
      data: { by, cause },
    })),
  )
  for (const { id } of ended) await notify(trx, { kind: 'token', id })
  return ended.length
}

function requirePerson(principal: PrincipalRow | undefined, id: PrincipalId): PrincipalRow {
  if (principal === undefined) throw new AppError('not_found', `There is no principal ${id}.`)
  if (principal.kind === 'person') return principal
  throw new AppError('forbidden', `${principal.name} is not a person; its state cannot be changed.`)
}
