import { type Duplex, Readable } from 'node:stream'
import type { EgressOutcome, Log } from '../../core/index.ts'
import type { Allowance } from '../bounds/allowance.ts'
import { type Limit, limitReason } from '../bounds/limits.ts'
import { inTurns, type Pausable, type SearchShare, type Turns } from '../bounds/search-share.ts'
import { type DenialReason, denialStatus } from '../decision/denial.ts'
import { decideRequest } from '../decision/warn.ts'
import { underWay } from '../economy/busy.ts'
import { spent } from '../economy/spent-buffers.ts'
import type { EndedBy, Live } from '../leases/live.ts'
import type { Metrics } from '../records/metrics.ts'
import type { OpenRecord, Recorder } from '../records/record.ts'
import { forwardedTrailers } from '../request/fields.ts'
import { provesHandshake } from '../request/websocket.ts'
import { speaksForCaller } from '../secrets/arrange.ts'
import { Scrubber } from '../secrets/scrub.ts'
import { StandInWatch } from '../secrets/stand-ins.ts'
import type {
  Channel,
  Switched,
  UpstreamAnswer,
  UpstreamEvents,
  UpstreamRequest,
} from '../upstream/channel.ts'
import { failureCode, failurePlace, UpstreamError, upstreamFailure } from '../upstream/error.ts'
import { cleanHead, hasMeaning, unsearchable } from './answer.ts'
import { answerDenial } from './answer-denial.ts'
import { factsOf, placeOf } from './asked.ts'
import { codingOf } from './decode.ts'
import { askedPart } from './part.ts'
import { passAnswer } from './pass-answer.ts'
import { type AllowedRequest, type ReachDeps, type Reached, reach } from './reach.ts'
import { passWebSocket } from './websocket.ts'

export interface DeliveryDeps extends ReachDeps {
  allowance: Allowance
  recorder: Recorder
  metrics: Metrics
  live: Live
  /** Answers that are decoded at the same time: a coding may ask for 16 MiB of window each. */
  decoders: Limit
  share: SearchShare
  /** How long a WebSocket may pass nothing either way, in milliseconds. */
  webSocketIdleMs: number
  log: Log
}

/** Takes one allowed request out and its answer back, once, and records how it went. */
export class Delivery implements UpstreamEvents {
  readonly #deps: DeliveryDeps
  #asked: AllowedRequest
  readonly #record: OpenRecord
  readonly #watch: StandInWatch | undefined
  readonly #passed = { bytes: 0, redactions: 0 }
  /** Of a WebSocket. */
  #frames: { sent: number; received: number } | undefined
  readonly #done = Promise.withResolvers<'over' | 'unprocessed'>()
  #leave: () => void = () => undefined
  readonly #ended = underWay()
  #undecode: () => void = () => undefined
  #searched: () => void
  #sent: UpstreamRequest | undefined
  #status: number | null = null
  #bytesOut = 0
  readonly #began = performance.now()
  #over = false

  /** Queues the record: from here on the request may go out. */
  constructor(deps: DeliveryDeps, asked: AllowedRequest) {
    this.#deps = deps
    this.#asked = asked
    const { identity, tuple, verdict, outgoing } = asked
    const { standIns } = verdict.arms
    this.#searched = verdict.arms.searching()
    this.#watch = standIns.length === 0 ? undefined : new StandInWatch(standIns)
    const data = {
      ...factsOf(identity, tuple, verdict.rule),
      addressClass: verdict.addressClass,
      credentials: outgoing.uses,
      outcome: null,
    }
    const { principalId } = identity
    const { wouldDeny } = verdict
    this.#record = deps.recorder.allowed(
      wouldDeny === undefined
        ? { kind: 'egress.allowed', principalId, data }
        : { kind: 'egress.would_deny', principalId, data: { ...data, reason: wouldDeny } },
      identity,
    )
  }

  /**
   * Settles when the answer has left or the request came to nothing; never rejects. `unprocessed` says that it may be
   * repeated and was not begun, and that nothing was answered.
   */
  run(): Promise<'over' | 'unprocessed'> {
    const { identity, tuple, verdict, inbound } = this.#asked
    this.#leave = this.#deps.live.add({
      identity,
      warned: verdict.wouldDeny !== undefined,
      allowed: (known) => decideRequest(tuple, known).allow,
      end: (by) => this.#cutOff(by),
    })
    inbound.answer.onClosed((whole) => this.#finish(whole ? null : 'client_closed'))
    const reached = reach(this.#deps, this.#asked)
    if (reached instanceof Promise)
      reached.then((there) => this.#reached(there)).catch((err: unknown) => this.failed(err))
    else this.#open(reached)
    return this.#done.promise
  }

  #reached(reached: Reached): void {
    if (!reached.ok) return this.#fail(reached.reason, reached)
    const { channel, asked } = reached
    if (asked !== this.#asked && !this.#over) {
      const before = this.#searched
      this.#searched = asked.verdict.arms.searching()
      before()
      this.#asked = asked
    }
    this.#open(channel)
  }

  #open(channel: Channel): void {
    if (this.#over) return channel.release()
    const { inbound, tuple, outgoing, kept } = this.#asked
    const { path, query, body } = outgoing
    const { content } = inbound
    const length = body === undefined ? (content?.length ?? 'chunked') : body.length
    try {
      this.#sent = channel.open(
        {
          tuple: { ...tuple, path, query },
          headers: outgoing.headersAt(this.#deps.now()),
          content: content === undefined ? undefined : length,
          secretFields: outgoing.secretFields,
          switching: inbound.webSocket !== undefined,
        },
        this,
      )
    } catch (err) {
      channel.release()
      return this.failed(err)
    }
    // A body that was held back has been asked for already.
    if (body === undefined && content !== undefined) inbound.proceed()
    const sending = body === undefined ? content?.body : Readable.from([body], { objectMode: false })
    sending?.on('data', (chunk: Buffer) => {
      this.#watch?.push(chunk)
      kept?.push(chunk)
      this.#sending(chunk.length)
    })
    content?.body.on('error', () => this.#finish('client_closed'))
    this.#sent.send(content === undefined ? undefined : sending, () => this.#trailers())
  }

  #sending(bytes: number): void {
    this.#bytesOut += bytes
    spent(bytes)
    const over = this.#deps.allowance.send(this.#asked.identity.principalId, bytes)
    if (over !== undefined) this.#fail(over.reason, over)
  }

  /** Beside what speaks for the caller nothing of its own may stand, and some servers read trailers as headers. */
  #trailers(): string[] {
    const { inbound, verdict } = this.#asked
    return speaksForCaller(verdict.arms) ? [] : forwardedTrailers(inbound.trailers())
  }

  answered(answer: UpstreamAnswer): void {
    this.#status = answer.status
    this.#asked.kept?.drop()
    this.#deps.metrics.answered((performance.now() - this.#began) / 1_000)
    if (answer.status === 401) this.#asked.verdict.arms.rejected()
    if (this.#over) return
    if (!hasMeaning(answer.status)) return this.#fail('answer_status')
    const { forms, vouched } = this.#asked.verdict.arms
    const reason = forms === undefined ? undefined : unsearchable(answer)
    if (reason !== undefined) return this.#fail(reason)
    if (forms !== undefined && !answer.headOnly && codingOf(answer.rawHeaders) !== 'none') {
      const place = this.#deps.decoders.take(this.#asked.identity.principalId)
      if (typeof place === 'string')
        return this.#fail(limitReason(place, 'too_many_requests'), { rule: 'limit' })
      this.#undecode = place
    }
    const { inbound, tuple } = this.#asked
    const asked = { method: tuple.method, rawHeaders: inbound.rawHeaders }
    passAnswer({
      from: answer,
      to: inbound.answer,
      forms,
      part: forms === undefined ? undefined : askedPart(asked, answer),
      vouched,
      turns: (source) => this.#turns(source),
      passed: this.#passed,
      ended: (failure) => this.#finish(failure),
      threw: (err) => this.#threw(err),
    })
  }

  #turns(source: Pausable): Turns {
    return inTurns(this.#deps.share, this.#asked.identity.principalId, source)
  }

  /** Another protocol is spoken only behind the proof that the upstream has read a handshake and meant it. */
  switched({ status, rawHeaders, socket, early }: Switched): void {
    const { inbound, verdict } = this.#asked
    const { webSocket } = inbound
    if (
      this.#over ||
      webSocket === undefined ||
      !provesHandshake(webSocket.handshake, { status, rawHeaders })
    ) {
      socket.destroy()
      return this.#fail('answer_switched')
    }
    this.#status = status
    this.#deps.metrics.answered((performance.now() - this.#began) / 1_000)
    const { forms, vouched } = verdict.arms
    const watch = this.#watch
    this.#frames = { sent: 0, received: 0 }
    let client: Duplex
    try {
      client = webSocket.open(cleanHead(rawHeaders, forms && new Scrubber(forms), vouched))
    } catch (err) {
      // The connection is nobody else's by now.
      socket.destroy()
      this.#threw(err)
      return this.#fail('proxy_failed')
    }
    passWebSocket({
      client,
      upstream: socket,
      early,
      forms,
      turns: (source) => this.#turns(source),
      sending: (bytes) => this.#sending(bytes),
      watch: watch && ((payload, of) => watch.push(payload, of)),
      passed: this.#passed,
      frames: this.#frames,
      idleMs: this.#deps.webSocketIdleMs,
      ended: (failure) => this.#finish(failure),
      threw: (err) => this.#threw(err),
    })
  }

  failed(err: unknown): void {
    if (this.#over) return
    const { identity, tuple } = this.#asked
    // At the level of the decision's own line, which has the reason alone: what to mend is in the cause.
    this.#deps.log.info(
      { code: failureCode(err), sourceId: identity.sourceId, host: tuple.host, port: tuple.port },
      'upstream request failed',
    )
    const reason = upstreamFailure(err)
    if (reason === 'upstream_refused') this.#refused(err instanceof UpstreamError && err.goesElsewhere)
    else this.#fail(reason)
  }

  /** It was not begun, as its upstream has proven (docs/decisions/0033). */
  #refused(goesElsewhere: boolean): void {
    const { isHere, isLast, inbound } = this.#asked
    const mayRepeat = goesElsewhere && !isLast && !inbound.answer.gone() && isHere()
    if (mayRepeat) this.#finish('upstream_refused', 'unprocessed')
    else if (inbound.answer.refuse()) this.#finish('upstream_refused')
    else this.#fail('upstream_refused')
  }

  #threw(err: unknown): void {
    const { sourceId } = this.#asked.identity
    this.#deps.log.error(
      { code: failureCode(err), place: failurePlace(err), sourceId },
      'an answer was cut off: it could not be searched for credentials',
    )
  }

  timedOut(): void {
    if (this.#over) return
    const { answer } = this.#asked.inbound
    if (!answer.sink.writableNeedDrain) return this.#fail('upstream_timeout')
    // It was made to wait, for a client that does not read.
    this.#finish('client_closed')
    answer.abort()
  }

  /** Before anything of the answer has left: say what happened. After: cut it off, so that it is not taken for whole. */
  #fail(
    reason: DenialReason,
    {
      rule = this.#asked.verdict.rule,
      retryAfterSeconds,
    }: { rule?: string; retryAfterSeconds?: number } = {},
  ): void {
    if (this.#over) return
    const { inbound, identity, tuple } = this.#asked
    answerDenial(
      inbound,
      {
        reason,
        rule,
        host: placeOf(tuple),
        source: identity.sourceId,
        status: denialStatus(reason),
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      },
      tuple,
    )
    this.#finish(reason)
  }

  #cutOff(by: EndedBy): void {
    if (this.#over) return
    this.#finish(by)
    this.#asked.inbound.answer.abort()
  }

  #finish(failure: EgressOutcome['failure'], how: 'over' | 'unprocessed' = 'over'): void {
    if (this.#over) return
    this.#over = true
    this.#ended()
    this.#leave()
    this.#undecode()
    this.#searched()
    const { bytes: bytesIn, redactions } = this.#passed
    const { inert: inHead } = this.#asked.outgoing
    const inert = this.#watch === undefined ? inHead : [...new Set([...inHead, ...this.#watch.seen()])]
    this.#record.finish({
      status: this.#status,
      bytesIn,
      bytesOut: this.#bytesOut,
      redactions,
      ...(inert.length === 0 ? {} : { inert }),
      ...(this.#frames === undefined ? {} : { frames: this.#frames }),
      failure,
    })
    // Who has answered whole need not read the rest of the request, and may never do.
    this.#sent?.abort()
    this.#done.resolve(how)
  }
}
