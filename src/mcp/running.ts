import { LRUCache } from 'lru-cache'
import { AppError, type Log, sha256 } from '../core/index.ts'
import type { McpDeps } from './options.ts'
import type { RequestId } from './rpc.ts'

/** In place of a request id: the whole session. */
const everything = '*'

export interface Running {
  /** Registers a call so that its client can cancel it from another connection; returns the way out. */
  start(session: string | undefined, id: RequestId, controller: AbortController): () => void
  /** Ends one call of a session, on whichever replica it runs. */
  cancel(session: string, id: RequestId): void
  /** Ends every call of a session and remembers for ten minutes that its client ended it. */
  endSession(session: string): void
  wasEnded(session: string): boolean
  /** How many calls are registered; nothing else here grows with use. */
  readonly size: number
  close(): void
}

/**
 * The calls in flight on this replica, by session and request id. There is no table of sessions: a session is
 * here only while it has a call running, and for a while after its client has ended it.
 */
export function createRunning({
  notices,
  notify,
  log,
}: Pick<McpDeps, 'notices' | 'notify'> & { log: Log }): Running {
  const calls = new Map<string, Map<string, AbortController>>()
  const ended = new LRUCache<string, true>({ max: 10_000, ttl: 10 * 60_000 })

  const abort = (session: string, key: string) => {
    const inSession = calls.get(session)
    const targets = key === everything ? [...(inSession?.values() ?? [])] : [inSession?.get(key)]
    for (const target of targets)
      target?.abort(new AppError('call_cancelled', 'The client cancelled this call.'))
    if (key === everything) ended.set(session, true)
  }
  const tell = (session: string, requestId: string) => {
    notify({ kind: 'cancel', session, requestId }).catch((err: unknown) =>
      log.warn({ err }, 'telling other replicas of a cancellation failed'),
    )
  }
  const off = notices.on((notice) => {
    if (notice.kind === 'cancel') abort(notice.session, notice.requestId)
  })

  return {
    start(session, id, controller) {
      if (session === undefined) return () => undefined
      const key = keyOf(id)
      const inSession = calls.get(session) ?? new Map<string, AbortController>()
      calls.set(session, inSession)
      inSession.set(key, controller)
      return () => {
        if (inSession.get(key) !== controller) return
        inSession.delete(key)
        if (inSession.size === 0 && calls.get(session) === inSession) calls.delete(session)
      }
    },
    cancel(session, id) {
      const key = keyOf(id)
      // Ids are unique within a session: what runs here runs nowhere else.
      if (calls.get(session)?.has(key) === true) abort(session, key)
      else tell(session, key)
    },
    endSession(session) {
      abort(session, everything)
      tell(session, everything)
    },
    wasEnded: (session) => ended.has(session),
    get size() {
      return calls.size
    },
    close: off,
  }
}

/** `1` and `"1"` are two ids. A long one is shortened, because notices have a limit. */
function keyOf(id: RequestId): string {
  const key = JSON.stringify(id)
  return key.length <= 100 ? key : sha256(key)
}
