import { type Full, limitReason } from '../bounds/limits.ts'
import type { DenialReason } from '../decision/denial.ts'
import type { Inbound } from '../inbound/inbound.ts'
import { Pieces } from './pieces.ts'

/** A body that is wholly here; `release` gives back the room that it takes. */
export interface HeldBody {
  bytes: Buffer
  release(): void
}

export interface BodyHold {
  /** Reads the body to its end, at most `limit` bytes of it; `client_closed` when the rest never came. */
  hold(inbound: Inbound, limit: number, principalId: string): Promise<HeldBody | HoldFailure>
}

export type HoldFailure =
  | Extract<DenialReason, 'body_too_large' | 'too_many_requests' | 'proxy_overloaded'>
  | 'client_closed'

/** Bodies held back at the same time take at most `totalBytes` of memory, those of one person a quarter of it. */
export function createBodyHold({ totalBytes }: { totalBytes: number }): BodyHold {
  let taken = 0
  const byPrincipal = new Map<string, number>()
  const take = (principalId: string, bytes: number): Full | undefined => {
    const own = byPrincipal.get(principalId) ?? 0
    if (own + bytes > totalBytes / 4) return 'principal'
    if (taken + bytes > totalBytes) return 'total'
    taken += bytes
    byPrincipal.set(principalId, own + bytes)
    return undefined
  }
  const give = (principalId: string, bytes: number) => {
    taken -= bytes
    const own = (byPrincipal.get(principalId) ?? 0) - bytes
    if (own > 0) byPrincipal.set(principalId, own)
    else byPrincipal.delete(principalId)
  }

  return {
    async hold(inbound, limit, principalId) {
      const { content } = inbound
      if (content === undefined) return { bytes: Buffer.alloc(0), release: () => undefined }
      if ((content.length ?? 0) > limit) return 'body_too_large'
      // What ended before anybody listened says so no more.
      if (inbound.answer.gone()) return 'client_closed'
      if (content.body.readableEnded) return { bytes: Buffer.alloc(0), release: () => undefined }
      if (content.body.destroyed) return 'client_closed'
      inbound.proceed()
      const pieces = new Pieces()
      let settled = false
      const result = await new Promise<HoldFailure | 'whole'>((resolve) => {
        const settle = (how: HoldFailure | 'whole') => {
          settled = true
          resolve(how)
        }
        inbound.answer.onClosed(() => settle('client_closed'))
        content.body.on('error', () => settle('client_closed'))
        content.body.on('end', () => settle('whole'))
        content.body.on('data', (chunk: Buffer) => {
          // By HTTP/2 some may come behind the news that its client has gone: its room would never be given back.
          if (!settled) {
            const full = pieces.bytes + chunk.length > limit ? 'limit' : take(principalId, chunk.length)
            if (full === undefined) return pieces.push(chunk)
            settle(full === 'limit' ? 'body_too_large' : limitReason(full, 'too_many_requests'))
          }
          content.body.pause()
        })
      })
      const release = () => give(principalId, pieces.bytes)
      if (result === 'whole') return { bytes: pieces.joined(), release }
      release()
      return result
    },
  }
}
