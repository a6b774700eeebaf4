import { setTimeout as sleep } from 'node:timers/promises'
import { type Log, toAppError } from '../../core/index.ts'
import { headBytes, type Overspent } from '../bounds/allowance.ts'
import { type Limit, limitReason } from '../bounds/limits.ts'
import type { DenialReason } from '../decision/denial.ts'
import type { Verdict } from '../decision/judge.ts'
import type { Inbound } from '../inbound/inbound.ts'
import type { Identity } from '../leases/leases.ts'
import type { Recorder } from '../records/record.ts'
import type { Tuple, TupleRefusal } from '../request/tuple.ts'
import { answerDenial } from './answer-denial.ts'
import { type Asked, askedRaw } from './asked.ts'
import { Delivery, type DeliveryDeps } from './delivery.ts'
import type { Denier } from './deny.ts'
import type { BodyHold, HeldBody } from './held.ts'
import { KeptBody } from './kept.ts'
import { compose, holdForOutgoing } from './outgoing.ts'
import type { ArmedAgain } from './reach.ts'
import { verdictMs } from './rights-now.ts'
import type { Stubs } from './stub.ts'

/** One request of a known sandbox, understood or not. */
export interface Exchange {
  inbound: Inbound
  identity: Identity
  canonical: { ok: true; tuple: Tuple } | { ok: false; reason: TupleRefusal }
  scheme: 'http' | 'https'
}

export interface ExchangeDeps extends DeliveryDeps {
  judge: (tuple: Tuple, identity: Identity) => Promise<Verdict>
  denier: Denier
  recorder: Recorder
  requests: Limit
  stubs: Stubs
  hold: BodyHold
  /** The largest body that is held back to have a credential put into it, in bytes. */
  bodyLimit: number
  log: Log
}

/** One that may go out, with its body where that is held back. */
interface Ready extends Pick<Exchange, 'inbound' | 'identity'> {
  tuple: Tuple
  verdict: Extract<Verdict, { allow: true }>
  held: HeldBody | undefined
}

type Refuse = (reason: DenialReason, rule: string, over?: Overspent) => Promise<void>

/** By then what was waited for is known, a host's addresses or a token, and is not waited for again. */
const mostVerdicts = 3
/** How often one request is sent at most, each time but the last with the proof that its upstream did not begin. */
const mostRounds = 3

/**
 * Handles one request to its end: decide, record, send, pass the answer on. Settles when the answer has
 * left or the request came to nothing; never rejects.
 */
export function createExchange(deps: ExchangeDeps): (exchange: Exchange) => Promise<void> {
  /** Decides by the lease as it is: the one given, or where that is too long ago, or was, another look at it. */
  const judge = async (tuple: Tuple, identity: Identity, isOld: boolean): Promise<Verdict> => {
    let old = isOld
    for (let round = 1; ; round += 1) {
      const current = old ? await deps.leases.current(identity.secretSha256) : identity
      if (current === undefined) return { allow: false, reason: 'revoked', rule: 'lease' }
      const began = deps.elapsed()
      const verdict = await deps.judge(tuple, current)
      old = deps.elapsed() - began > verdictMs
      if (!verdict.allow || !old || round === mostVerdicts) return verdict
    }
  }

  /** Sends it, decided anew each time, until anything came of it but the proof that its upstream did not begin. */
  const send = async ({ inbound, identity, tuple, verdict, held }: Ready, refuse: Refuse): Promise<void> => {
    const { principalId } = identity
    const streams = inbound.content !== undefined && held === undefined
    const kept = streams ? KeptBody.of(inbound) : undefined
    let body = held
    for (let round = 1; ; ) {
      // A body may have been long in coming, and so may the word that it was not begun: what holds is what is decided now.
      const now = held === undefined && round === 1 ? verdict : await judge(tuple, identity, true)
      if (!now.allow) return await refuse(now.reason, now.rule)
      // While a credential is put into a body, or a signature made over it, nobody else is served.
      const restMs = held === undefined ? 0 : deps.share.restMs(principalId)
      if (restMs > 0) {
        await sleep(restMs)
        continue
      }
      const whole = body
      const composing = () => compose(now, whole, inbound, tuple)
      const composed = held === undefined ? composing() : deps.share.run(principalId, composing)
      if (!composed.ok) return await refuse(composed.reason, ruleOf(now.rule, composed))
      if (inbound.answer.gone()) return
      const streaming = streams && whole === undefined
      const delivery = new Delivery(deps, {
        inbound,
        identity,
        tuple,
        verdict: now,
        outgoing: composed.outgoing,
        armedAgain: async () => await armAgain(now, whole, inbound, tuple),
        // Behind the last byte of a body trailers may still come.
        isHere: () => !streaming || (kept?.isWhole === true && inbound.complete()),
        isLast: round === mostRounds,
        kept: streaming ? kept : undefined,
      })
      if ((await delivery.run()) === 'over') return
      body ??= kept?.held()
      round += 1
    }
  }

  return async ({ inbound, identity, canonical, scheme }) => {
    const asked: Asked = canonical.ok ? canonical.tuple : askedRaw(inbound, scheme)
    const refuse: Refuse = async (reason, rule, over) => {
      const refusal = deps.denier.deny(identity, asked, reason, rule, over?.retryAfterSeconds)
      await refusal.told
      // Whoever goes on all the same has a CONNECT refused before the next, which costs them more than us.
      answerDenial(inbound, refusal, asked, over !== undefined)
    }

    const over = deps.allowance.begin(identity.principalId, headBytes(inbound))
    if (over !== undefined) return await refuse(over.reason, 'limit', over)
    if (!canonical.ok) return await refuse(canonical.reason, 'request')
    const place = deps.requests.take(identity.principalId)
    if (typeof place === 'string') return await refuse(limitReason(place, 'too_many_requests'), 'limit')
    try {
      const room = deps.recorder.room(identity.principalId)
      const waited = room instanceof Promise
      if (!(waited ? await room : room)) return await refuse('records_unavailable', 'record')
      if (waited && inbound.answer.gone()) return
      const { tuple } = canonical
      const finding = deps.stubs.find(tuple, identity)
      const minted = finding === undefined ? undefined : await finding
      if (minted !== undefined && minted.length > 0)
        return await deps.stubs.answer(inbound, minted, tuple, identity)
      const verdict = await judge(tuple, identity, waited)
      if (!verdict.allow) return await refuse(verdict.reason, verdict.rule)
      const holding = holdForOutgoing(deps.hold, deps.bodyLimit, verdict, inbound, tuple, identity)
      const held = holding instanceof Promise ? await holding : holding
      if (held === 'client_closed') return
      if (typeof held === 'string')
        return await refuse(held, held === 'body_too_large' ? verdict.rule : 'limit')
      if (held !== undefined && 'ok' in held) return await refuse(held.reason, ruleOf(verdict.rule, held))
      try {
        await send({ inbound, identity, tuple, verdict, held }, refuse)
      } finally {
        held?.release()
      }
    } catch (err) {
      if (toAppError(err).code === 'unavailable') return await refuse('leases_unavailable', 'proxy')
      deps.log.error({ err, sourceId: identity.sourceId }, 'egress request failed')
      await refuse('proxy_failed', 'proxy')
    } finally {
      // By HTTP/2 a client need not have read one answer to ask for the next, and each takes memory until it has.
      inbound.answer.onLeft(place)
    }
  }
}

/** The same request with the credentials as they are now. */
async function armAgain(
  verdict: Extract<Verdict, { allow: true }>,
  held: HeldBody | undefined,
  inbound: Inbound,
  tuple: Tuple,
): Promise<ArmedAgain> {
  const armed = await verdict.arm()
  if (!armed.ok) return { ...armed, rule: ruleOf(verdict.rule, armed) }
  const now = { ...verdict, arms: armed.arms }
  const composed = compose(now, held, inbound, tuple)
  return composed.ok
    ? { ok: true, verdict: now, outgoing: composed.outgoing }
    : { ...composed, rule: ruleOf(verdict.rule, composed) }
}

/** The rule, and which of its credentials has no place. */
function ruleOf(rule: string, { credential }: { credential?: string }): string {
  return credential === undefined ? rule : `${rule} ${credential}`
}
