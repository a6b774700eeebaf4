import type { IncomingMessage, ServerResponse } from 'node:http'
import { type EgressOutcome, type Log, toAppError } from '../../core/index.ts'
import type { Limit } from '../bounds/limits.ts'
import { decideEgress } from '../decision/decide.ts'
import type { DenialReason } from '../decision/denial.ts'
import type { Verdict } from '../decision/judge.ts'
import type { Identity, Leases } from '../leases/leases.ts'
import type { Live } from '../leases/live.ts'
import type { Recorder } from '../records/record.ts'
import type { Tuple, TupleRefusal } from '../request/tuple.ts'
import { forwardedHeaders } from '../secrets/inject.ts'
import { passAnswer, unsearchable } from './answer.ts'
import { type Asked, answerDenial, askedRaw, type Denier, factsOf } from './deny.ts'
import { authorityOf, failureCode, type Upstream, upstreamFailure } from './upstream.ts'

/** One request of a known sandbox, understood or not. */
export interface Exchange {
  req: IncomingMessage
  res: ServerResponse
  identity: Identity
  canonical: { ok: true; tuple: Tuple } | { ok: false; reason: TupleRefusal }
  scheme: 'http' | 'https'
  /** The client waits for `100 Continue` before it sends the body. */
  expectsContinue: boolean
}

export interface ExchangeDeps {
  leases: Leases
  judge: (tuple: Tuple, identity: Identity) => Promise<Verdict>
  denier: Denier
  recorder: Recorder
  upstream: Upstream
  requests: Limit
  live: Live
  log: Log
}

/**
 * Handles one request to its end: decide, record, send once, pass the answer on. Settles when the answer has
 * left or the request came to nothing; never rejects.
 */
export function createExchange(deps: ExchangeDeps): (exchange: Exchange) => Promise<void> {
  return async (exchange) => {
    const { req, res, identity, canonical } = exchange
    const asked: Asked = canonical.ok ? canonical.tuple : askedRaw(req, exchange.scheme)
    const refuse = (reason: DenialReason, rule: string) =>
      answerDenial(req, res, deps.denier.deny(identity, asked, reason, rule), asked)

    if (!canonical.ok) return refuse(canonical.reason, 'request')
    const place = deps.requests.take(identity.principalId)
    if (place === 'principal') return refuse('too_many_requests', 'limit')
    if (place === 'total') return refuse('proxy_overloaded', 'limit')
    try {
      if (!deps.recorder.healthy(identity.principalId)) return refuse('records_unavailable', 'record')
      const verdict = await deps.judge(canonical.tuple, identity)
      if (!verdict.allow) return refuse(verdict.reason, verdict.rule)
      if (res.destroyed) return
      await send(deps, exchange, canonical.tuple, verdict)
    } catch (err) {
      deps.log.error({ err, sourceId: identity.sourceId }, 'egress request failed')
      refuse(toAppError(err).code === 'unavailable' ? 'leases_unavailable' : 'proxy_failed', 'proxy')
    } finally {
      place()
    }
  }
}

function send(
  deps: ExchangeDeps,
  exchange: Exchange,
  tuple: Tuple,
  verdict: Extract<Verdict, { allow: true }>,
): Promise<void> {
  const { req, res, identity } = exchange
  const { promise, resolve } = Promise.withResolvers<void>()
  const passed = { bytes: 0, redactions: 0 }
  let status: number | null = null
  let bytesOut = 0
  let revoked = false
  let over = false

  const facts = factsOf(identity, tuple, verdict.rule)
  const record = deps.recorder.allowed({
    kind: 'egress.allowed',
    principalId: identity.principalId,
    data: {
      ...facts,
      credentials: verdict.injections.map(({ credential, header }) => ({
        credential,
        slot: `header:${header}`,
      })),
      outcome: null,
    },
  })
  const outgoing = deps.upstream.open({
    tuple,
    addresses: verdict.addresses,
    headers: [
      ...forwardedHeaders({
        rawHeaders: req.rawHeaders,
        authority: authorityOf(tuple),
        searched: verdict.forms !== undefined,
        injections: verdict.injections,
      }),
      ...framing(req),
    ],
    poolKey: `${identity.principalId} ${identity.leaseId} ${verdict.version} ${verdict.rule}`,
  })

  const leave = deps.live.add({
    identity,
    allowed: (rules) => decideEgress(tuple, rules).allow,
    end() {
      revoked = true
      finish('revoked')
    },
  })
  const finish = (failure: EgressOutcome['failure']) => {
    if (over) return
    over = true
    leave()
    record.finish({ status, bytesIn: passed.bytes, bytesOut, redactions: passed.redactions, failure })
    if (failure !== null || !req.complete) {
      req.unpipe(outgoing)
      outgoing.destroy()
    }
    if (revoked) res.destroy()
    resolve()
  }
  /** Before anything of the answer has left: say what happened. After: cut it off, so that it is not taken for whole. */
  const fail = (reason: DenialReason) => {
    if (over) return
    if (res.headersSent || res.destroyed) res.destroy()
    else {
      const denial = { reason, rule: verdict.rule, host: authorityOf(tuple), source: identity.sourceId }
      answerDenial(req, res, { ...denial, status: reason.startsWith('upstream_timeout') ? 504 : 502 }, tuple)
    }
    finish(reason)
  }

  // The same look confirms the lease and names the calls; the answer waits for it, the request does not.
  const looked = deps.leases.look(identity.secretSha256).then(
    (now) => {
      record.calls(now?.callIds ?? [])
      return now !== undefined
    },
    (err: unknown) => {
      deps.log.warn({ err }, 'a lease could not be confirmed, the answer under way is let through')
      record.calls([])
      return true
    },
  )

  outgoing.on('error', (err) => {
    if (over) return
    deps.log.debug(
      { code: failureCode(err), sourceId: identity.sourceId, host: tuple.host },
      'upstream request failed',
    )
    fail(upstreamFailure(err))
  })
  outgoing.on('timeout', () => fail('upstream_timeout'))
  outgoing.on('upgrade', (_answer, socket) => {
    socket.destroy()
    fail('answer_switched')
  })
  outgoing.on('response', (answer) => {
    answer.on('error', () => undefined)
    status = answer.statusCode ?? null
    void looked.then((good) => {
      if (over) return answer.destroy()
      if (!good) {
        revoked = true
        return finish('revoked')
      }
      // It broke off while the lease was looked at: whoever listens only now hears of no end.
      if (answer.destroyed) return fail('upstream_failed')
      const reason = verdict.forms === undefined ? undefined : unsearchable(answer)
      if (reason !== undefined) return fail(reason)
      passAnswer({ answer, res, forms: verdict.forms, passed, ended: finish })
    })
  })
  res.on('close', () => {
    if (!res.writableFinished) finish('client_closed')
  })
  // An answer that came before the body was read leaves a body that nobody will read.
  res.on('finish', () => {
    if (!req.complete) req.socket.destroySoon()
  })
  sendBody()
  return promise

  function sendBody(): void {
    if (!hasBody(req)) {
      outgoing.end()
      return
    }
    if (exchange.expectsContinue) res.writeContinue()
    req.on('data', (chunk: Buffer) => {
      bytesOut += chunk.length
    })
    req.on('error', () => finish('client_closed'))
    req.pipe(outgoing)
  }
}

function hasBody(req: IncomingMessage): boolean {
  return req.headers['transfer-encoding'] !== undefined || (req.headers['content-length'] ?? '0') !== '0'
}

/** How the body is framed on the next hop: as it came, re-stated by us. */
function framing(req: IncomingMessage): string[] {
  if (req.headers['transfer-encoding'] !== undefined) return ['Transfer-Encoding', 'chunked']
  if (hasBody(req)) return ['Content-Length', req.headers['content-length'] ?? '0']
  return req.method === 'POST' || req.method === 'PUT' || req.method === 'PATCH'
    ? ['Content-Length', '0']
    : []
}
