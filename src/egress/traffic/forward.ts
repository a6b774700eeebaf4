import type { IncomingMessage } from 'node:http'
import type { Crowd } from '../bounds/crowd.ts'
import { readFairly } from '../bounds/fair-reading.ts'
import { limitReason } from '../bounds/limits.ts'
import type { LoopShare } from '../bounds/loop-share.ts'
import { headOf } from '../inbound/http1.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { Leases } from '../leases/leases.ts'
import { forwardTarget } from '../request/tuple.ts'
import { answerDenial } from './answer-denial.ts'
import { askedRaw } from './asked.ts'
import { type CameFrom, identifyCaller, refuseCaller } from './caller.ts'
import type { Denier } from './deny.ts'
import type { Exchange } from './exchange.ts'

/** Handles a request that was sent to the proxy itself in absolute form, as clients do with plain http. */
export function createForwardHandler(deps: {
  leases: Leases
  denier: Denier
  crowd: Crowd
  share: LoopShare
  cameFrom: CameFrom
  exchange: (exchange: Exchange) => Promise<void>
}): (req: IncomingMessage, inbound: Inbound) => Promise<void> {
  return async (req, inbound) => {
    deps.crowd.spoke(req.socket)
    const caller = await identifyCaller(req, deps)
    if (caller === undefined) return void req.socket.destroy()
    if (!caller.ok) {
      const asked = askedRaw(inbound, 'http')
      return answerDenial(inbound, refuseCaller(req, asked, caller, deps.denier), asked)
    }
    const { identity } = caller
    const full = deps.crowd.named(req.socket, identity.principalId)
    if (full !== undefined) {
      const asked = askedRaw(inbound, 'http')
      const refusal = deps.denier.deny(identity, asked, limitReason(full, 'too_many_requests'), 'limit')
      await refusal.told
      return answerDenial(inbound, refusal, asked, true)
    }
    readFairly(req.socket, deps.share.of(identity.principalId))
    await deps.exchange({ inbound, identity, canonical: forwardTarget(headOf(req)), scheme: 'http' })
  }
}
