import type { Socket } from 'node:net'
import type { EgressRule } from '../../catalog/index.ts'
import type { EgressOutcome, Log } from '../../core/index.ts'
import type { Allowance } from '../bounds/allowance.ts'
import { takeTogether } from '../bounds/crumbs.ts'
import type { DenialReason } from '../decision/denial.ts'
import type { Guard } from '../decision/guard.ts'
import type { RulesAt } from '../decision/rules.ts'
import { decideConnect, type SourceRules } from '../decision/warn.ts'
import type { Elapsed } from '../elapsed.ts'
import type { Identity, Leases } from '../leases/leases.ts'
import type { EndedBy, Live } from '../leases/live.ts'
import type { OpenRecord, Recorder } from '../records/record.ts'
import { type HelloRefusal, judgeClientHello } from '../request/client-hello.ts'
import type { Destination } from '../request/tuple.ts'
import type { Connect } from '../upstream/connection.ts'
import { failureCode, upstreamFailure } from '../upstream/error.ts'
import { type Asked, factsOf } from './asked.ts'
import type { Denier } from './deny.ts'
import { EndWith, join, through } from './join.ts'
import { rightsNow, verdictMs } from './rights-now.ts'
import { established } from './tunnel.ts'

export interface PassThroughDeps {
  leases: Leases
  rulesAt: RulesAt
  guard: Guard
  recorder: Recorder
  allowance: Allowance
  connect: Connect
  live: Live
  denier: Denier
  handshakeTimeoutMs: number
  idleMs: number
  elapsed: Elapsed
  now: () => number
  log: Log
}

/** A tunnel that a rule lets through as it is. */
export interface PassedTunnel {
  socket: Socket
  identity: Identity
  destination: Destination
  rule: string
  matched: EgressRule
  asked: Asked
  /** Refuses in answer to the CONNECT. */
  refuse: (reason: DenialReason, rule: string) => Promise<void>
  /** Gives its place among the tunnels back. */
  leave: () => void
}

/**
 * Takes a tunnel to its upstream without ending TLS, for clients that pin certificates: the bytes are counted and not
 * read but for the first message, whose server name must be the tunnel's host. No credential ever goes this way. Settles
 * when the tunnel stands or is refused.
 */
export function createPassThrough(deps: PassThroughDeps): (tunnel: PassedTunnel) => Promise<void> {
  return async (tunnel) => {
    const { socket, identity, destination, rule, matched, asked, refuse } = tunnel
    socket.once('close', tunnel.leave)
    if (socket.destroyed) return tunnel.leave()
    if (!(await deps.recorder.room(identity.principalId)))
      return await refuse('records_unavailable', 'record')
    const guarded = await deps.guard.check(destination, matched, identity.principalId)
    if (!guarded.ok) return await refuse(guarded.reason, guarded.by === 'limit' ? 'limit' : rule)
    if (socket.destroyed) return
    socket.write(established)
    const hello = await firstMessage(socket, destination.host, deps.handshakeTimeoutMs)
    if (hello === undefined) return void socket.destroy()
    if (typeof hello === 'string') {
      deps.denier.deny(identity, asked, hello, 'tunnel')
      socket.destroy()
      return
    }
    // Finding the host and the client's beginning may have taken their time: what holds is what is allowed now.
    if (!(await mayPass(deps, identity, destination))) {
      deps.denier.deny(identity, asked, 'revoked', rule)
      socket.destroy()
      return
    }
    const { addresses, addressClass } = guarded
    const data = { ...factsOf(identity, asked, rule), addressClass, credentials: [], outcome: null }
    const record = deps.recorder.allowed(
      {
        kind: 'egress.allowed',
        principalId: identity.principalId,
        data: { ...data, method: 'CONNECT', path: '' },
      },
      identity,
    )
    await passBytes(deps, { ...tunnel, addresses, hello, record })
  }
}

async function mayPass(
  deps: PassThroughDeps,
  identity: Identity,
  destination: Destination,
): Promise<boolean> {
  const known = await rightsNow(deps, identity.secretSha256)
  return known !== undefined && passes(destination, known)
}

function passes(destination: Destination, known: SourceRules): boolean {
  const decision = decideConnect(destination, known)
  return decision.allow && !decision.matched.intercept
}

async function passBytes(
  deps: PassThroughDeps,
  { socket, identity, destination, addresses, hello, record }: PassedTunnel & Standing,
): Promise<void> {
  const passed = { in: 0, out: 0 }
  let leave = () => undefined as void
  const finish = (failure: EgressOutcome['failure']) => {
    leave()
    record.finish({ status: null, bytesIn: passed.in, bytesOut: passed.out, redactions: 0, failure })
  }
  let end = (failure: DenialReason | EndedBy) => {
    finish(failure)
    socket.destroy()
  }
  leave = deps.live.add({
    identity,
    // What it lets out is never passed through.
    warned: false,
    allowed: (known) => passes(destination, known),
    end: (by) => end(by),
  })
  let upstream: Socket
  const began = deps.elapsed()
  try {
    upstream = await deps.connect({ ...destination, secure: false, addresses, poolKey: '' }, [])
  } catch (err) {
    deps.log.info(
      { code: failureCode(err), sourceId: identity.sourceId, ...destination },
      'a tunnel could not be opened',
    )
    return end(upstreamFailure(err))
  }
  // As with a request: who stood still meanwhile has not heard what was withdrawn.
  if (deps.elapsed() - began > verdictMs) {
    upstream.on('error', () => undefined)
    const may = await mayPass(deps, identity, destination).catch(() => undefined)
    if (may !== true) {
      upstream.destroy()
      return end(may === undefined ? 'leases_unavailable' : 'revoked')
    }
  }
  if (socket.destroyed) {
    upstream.destroy()
    return finish('client_closed')
  }
  takeTogether(upstream)
  const outward = through((chunk, push) => {
    passed.out += chunk.length
    const over = deps.allowance.send(identity.principalId, chunk.length)
    if (over !== undefined) throw new EndWith<DenialReason>(over.reason)
    push(chunk)
  })
  const inward = through((chunk, push) => {
    passed.in += chunk.length
    push(chunk)
  })
  const joined = join<DenialReason | EndedBy>({
    client: socket,
    upstream,
    outward,
    inward,
    idleMs: deps.idleMs,
    // Who may close when is for the two of them to know; a server that means it does not reset.
    complete: (ending) => ending !== 'upstream_broken',
    broken: () => 'proxy_failed',
    ended: finish,
  })
  end = (failure) => joined.end(failure)
  outward.write(hello)
}

interface Standing {
  addresses: string[]
  /** What the client has sent so far. */
  hello: Buffer
  record: OpenRecord
}

/**
 * What a client sends first, once it is whole and names `host`; or why it is let no further. Undefined where it leaves
 * without a word, which is no refusal.
 */
function firstMessage(
  socket: Socket,
  host: string,
  timeoutMs: number,
): Promise<Buffer | HelloRefusal | undefined> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0)
    const settle = (result: Buffer | HelloRefusal | undefined) => {
      clearTimeout(timer)
      socket.off('data', take).off('end', gone).off('close', gone).pause()
      resolve(result)
    }
    const take = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      try {
        const judged = judgeClientHello(bytes, host)
        if (judged !== undefined) settle(judged.ok ? bytes : judged.reason)
      } catch {
        settle('tls_failed')
      }
    }
    const gone = () => settle(bytes.length === 0 ? undefined : 'tls_failed')
    const timer = setTimeout(() => settle('tls_failed'), timeoutMs)
    socket.on('data', take).once('end', gone).once('close', gone)
  })
}
