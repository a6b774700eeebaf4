import type { ServerResponse } from 'node:http'
import type { Caller } from '../access/index.ts'
import type { McpDeps } from './options.ts'

/** How many streams one person may hold open on one replica. */
const perPrincipal = 32
/** Changes that come together are told once. */
const gatherMs = 250
const longestTimer = 2 ** 31 - 1

export interface Subscriptions {
  /** Takes charge of a `subscriptions/listen` stream; false when the person has too many. */
  admit(caller: Caller, response: ServerResponse): boolean
  close(): void
}

/**
 * The open streams of 2026 clients that want to hear of changes. Each lasts no longer than the token that opened
 * it. What is told is only "list again": whose list changed is found out when they ask.
 */
export function createSubscriptions({
  notices,
  toolsChanged,
}: Pick<McpDeps, 'notices'> & { toolsChanged: () => void }): Subscriptions {
  const open = new Map<ServerResponse, { caller: Caller; expiry: NodeJS.Timeout }>()
  let gathering: NodeJS.Timeout | undefined

  const endWhere = (matches: (caller: Caller) => boolean) => {
    for (const [response, { caller }] of open) if (matches(caller)) response.destroy()
  }
  const off = notices.on((notice) => {
    if (notice.kind === 'token') endWhere((caller) => caller.tokenId === notice.id)
    if (notice.kind === 'principal') endWhere((caller) => caller.principalId === notice.id)
    if (notice.kind === 'catalog') {
      gathering ??= setTimeout(() => {
        gathering = undefined
        toolsChanged()
      }, gatherMs)
    }
  })

  return {
    admit(caller, response) {
      let held = 0
      for (const other of open.values()) if (other.caller.principalId === caller.principalId) held++
      if (held >= perPrincipal) return false
      const left = Math.min(Math.max(caller.expiresAt.getTime() - Date.now(), 0), longestTimer)
      const expiry = setTimeout(() => response.destroy(), left)
      open.set(response, { caller, expiry })
      response.once('close', () => {
        clearTimeout(expiry)
        open.delete(response)
      })
      return true
    },
    close() {
      off()
      clearTimeout(gathering)
      endWhere(() => true)
    },
  }
}
