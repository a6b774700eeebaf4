import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Log } from '../../core/index.ts'
import { type Allowance, headBytes } from '../bounds/allowance.ts'
import type { Crowd } from '../bounds/crowd.ts'
import { handOver, readFairly } from '../bounds/fair-reading.ts'
import { type Limit, limitReason } from '../bounds/limits.ts'
import type { LoopShare } from '../bounds/loop-share.ts'
import type { Rounds } from '../bounds/rounds.ts'
import type { DenialReason } from '../decision/denial.ts'
import { type RuleBook, type RulesAt, rulesOf } from '../decision/rules.ts'
import { decideConnect } from '../decision/warn.ts'
import { endOwing, owesAnswer } from '../inbound/due-answers.ts'
import { headOf } from '../inbound/http1.ts'
import { endSaying } from '../inbound/last-words.ts'
import type { Leaves } from '../keys/certificates.ts'
import type { Identity, Leases } from '../leases/leases.ts'
import type { Live } from '../leases/live.ts'
import { connectTarget, type Destination } from '../request/tuple.ts'
import type { EgressLimits } from '../types.ts'
import { connectDenial } from './answer-denial.ts'
import { type Asked, askedRaw } from './asked.ts'
import { type CameFrom, identifyCaller, refuseCaller } from './caller.ts'
import type { Denier } from './deny.ts'
import type { Inner } from './inner.ts'
import type { PassedTunnel } from './pass-through.ts'
import { saidBy } from './server.ts'
import { established, openTunnel } from './tunnel.ts'

export interface ConnectDeps {
  leases: Leases
  denier: Denier
  rulesAt: RulesAt
  leaves: Leaves
  tunnels: Limit
  allowance: Allowance
  crowd: Crowd
  share: LoopShare
  cameFrom: CameFrom
  live: Live
  limits: EgressLimits
  inner: Inner
  rounds: Rounds
  passThrough: (tunnel: PassedTunnel) => Promise<void>
  now: () => number
  log: Log
}

type Refuse = (reason: DenialReason, rule: string, retryAfterSeconds?: number) => Promise<void>

/** Handles CONNECT: who asks, whether any rule leads there, and then TLS in the host's name. */
export function createConnectHandler(
  deps: ConnectDeps,
): (req: IncomingMessage, socket: Socket, early: Buffer) => Promise<void> {
  return async (req, socket, early) => {
    socket.setTimeout(0)
    const isEarly = handOver(socket) || early.length > 0
    deps.crowd.spoke(socket)
    // Also what refuses it would stand in the answer to another request, or in its place.
    const behind = owesAnswer(socket)
    const say = (text: string) => (behind ? endOwing(socket) : endSaying(socket, text))
    const caller = await identifyCaller(req, deps)
    if (caller === undefined) return void socket.destroy()
    const raw = askedRaw(saidBy(req), 'https')
    if (!caller.ok) return say(connectDenial(refuseCaller(req, raw, caller, deps.denier), raw))
    const { identity } = caller
    const canonical = connectTarget(headOf(req))
    const asked = canonical.ok ? { ...raw, ...canonical.destination } : raw
    const refuse: Refuse = async (reason, rule, retryAfterSeconds) => {
      const refusal = deps.denier.deny(identity, asked, reason, rule, retryAfterSeconds)
      await refusal.told
      say(connectDenial(refusal, asked))
    }
    const head = { method: 'CONNECT', target: req.url ?? '', rawHeaders: req.rawHeaders }
    const over = deps.allowance.begin(identity.principalId, headBytes(head))
    if (over !== undefined) return await refuse(over.reason, 'limit', over.retryAfterSeconds)
    const full = deps.crowd.named(socket, identity.principalId)
    if (full !== undefined) return await refuse(limitReason(full, 'too_many_tunnels'), 'limit')
    readFairly(socket, deps.share.of(identity.principalId))
    if (!canonical.ok) return await refuse(canonical.reason, 'request')
    if (behind) return await refuse('tunnel_behind_request', 'request')
    if (isEarly) return await refuse('tunnel_early_data', 'request')
    const book = await deps.rulesAt(identity.catalogVersion)
    const decision = decideConnect(canonical.destination, rulesOf(book, identity.sourceId, deps.now()))
    if (!decision.allow) return await refuse(decision.reason, decision.rule)
    const place = deps.tunnels.take(identity.principalId)
    if (typeof place === 'string') return await refuse(limitReason(place, 'too_many_tunnels'), 'limit')
    const { destination } = canonical
    const { rule, matched } = decision
    const warned = decision.wouldDeny !== undefined
    if (matched.intercept)
      return await open(deps, { socket, identity, book, destination, warned, asked, leave: place })
    await deps.passThrough({ socket, identity, destination, rule, matched, asked, refuse, leave: place })
  }
}

async function open(
  deps: ConnectDeps,
  options: {
    socket: Socket
    identity: Identity
    book: RuleBook
    destination: Destination
    warned: boolean
    asked: Asked
    leave: () => void
  },
): Promise<void> {
  const { socket, identity, destination, warned, asked, leave: place } = options
  let leave: (() => void) | undefined
  try {
    // What warn mode lets out no rule names: the issuing certificates of the rules do not vouch for it, and it has its own.
    const permitted = options.book.hosts.includes(destination.host) ? options.book.hosts : undefined
    const context = await deps.leaves.contextFor(destination.host, permitted)
    if (socket.destroyed) return place()
    socket.write(established)
    const tunnel = openTunnel({
      socket,
      identity,
      destination,
      context,
      rounds: deps.rounds,
      handshakeTimeoutMs: deps.limits.handshakeTimeoutMs,
      idleTimeoutMs: deps.limits.tunnelIdleTimeoutMs,
      ready: (secured, opened) => deps.inner.serve(secured, opened),
      refused: (reason) => void deps.denier.deny(identity, asked, reason, 'tunnel'),
      closed() {
        leave?.()
        place()
      },
    })
    leave = deps.live.add({
      identity,
      warned,
      allowed: (known) => decideConnect(destination, known).allow,
      end: () => tunnel.end(),
    })
  } catch (err) {
    place()
    throw err
  }
}
