import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, type CallId, type Log, toAppError } from '../core/index.ts'
import type { RunnerAnswer } from '../runners/index.ts'
import { endingOf } from './answer.ts'
import { type Ending, refused, withText } from './ending.ts'

/** From the end of a call's right to run until its client is answered, whatever the sandbox does. */
const answerAfterMs = 400
/** How long an error waits for a note that may still be on its way. */
const noteMs = 20
/** How long an error waits at most for the notices of its time, when the database is slow. */
const heardMs = 1_000
const mostNotes = 5

/** What is known of a call while it is under way, and how that turns an answer into an ending. */
export class Flying {
  readonly controller = new AbortController()
  /** Resolves a little after the call's right ended. */
  readonly patienceOver: Promise<undefined>
  /** Why it must end; the first reason counts. */
  reason: AppError | undefined
  /** Why the row was not written. */
  refusal: AppError | undefined
  /** Whether the runner was told that it may send. */
  sent = false
  readonly #notes = new Set<string>()
  #startPatience: () => void = () => undefined

  constructor() {
    this.patienceOver = new Promise((resolve) => {
      this.#startPatience = () => void setTimeout(() => resolve(undefined), answerAfterMs).unref()
    })
  }

  end(reason: AppError): void {
    if (this.reason !== undefined) return
    this.reason = reason
    this.#startPatience()
    this.controller.abort(reason)
  }

  /** Throws the reason when the call's right has ended. */
  demandRight(): void {
    if (this.reason !== undefined) throw this.reason
  }

  answered(answer: RunnerAnswer, call: Parameters<typeof endingOf>[1]): Ending {
    const { reason } = this
    const finished = answer.type === 'result' || answer.type === 'rpc_error'
    // A client that cancelled too late gets what there is; somebody without a right gets nothing.
    if (reason === undefined || (finished && reason.code === 'call_cancelled')) return endingOf(answer, call)
    if (answer.type === 'unknown')
      return withText(
        call.callId,
        'unknown',
        reason.code,
        `${reason.message} It is not known whether it still ran.`,
      )
    return withText(call.callId, outcomeOf(reason), reason.code, reason.message)
  }

  /** What the person should read beside an error; few, and each once. */
  note(sentence: string): void {
    if (this.#notes.size < mostNotes) this.#notes.add(sentence)
  }

  /**
   * An error with what was noted about its call, such as what the egress proxy refused. Notes come from another process,
   * as notices. The proxy answers a refusal once its notice was sent, so all of them are here when `caughtUp` settles;
   * those of a tunnel that it broke off without an answer may be a moment behind. Only errors wait.
   */
  async annotated(ending: Ending, caughtUp: () => Promise<void>): Promise<Ending> {
    const { outcome, result } = ending
    if (outcome !== 'tool_error' && outcome !== 'failed') return ending
    await sleep(noteMs)
    await Promise.race([caughtUp(), sleep(heardMs, undefined, { ref: false })])
    if (this.#notes.size === 0 || !Array.isArray(result['content'])) return ending
    const notes = [...this.#notes].map((text) => ({ type: 'text', text }))
    return { ...ending, result: { ...result, content: [...(result['content'] as unknown[]), ...notes] } }
  }

  failed(id: CallId, error: unknown, log: Log): Ending {
    const { reason, refusal } = this
    if (refusal !== undefined) {
      log.debug({ callId: id, err: refusal.cause ?? refusal }, 'call refused before it was sent')
      return refused(id, refusal)
    }
    if (this.sent && !saysNothingRan(error)) {
      log.error({ callId: id, err: error }, 'runner broke off a call')
      return withText(
        id,
        'unknown',
        reason?.code ?? 'outcome_unknown',
        'It is not known whether this call ran: its sandbox stopped answering. It is not repeated; check its effects before you call again.',
      )
    }
    if (reason !== undefined) return withText(id, outcomeOf(reason), reason.code, reason.message)
    const known = toAppError(error)
    if (known.code === 'call_cancelled') return withText(id, 'cancelled', known.code, known.message)
    log.warn({ callId: id, err: known.cause ?? known }, 'call did not reach its tool')
    return withText(id, 'failed', known.code, sayingThatNothingRan(known.message))
  }
}

/** A message that says so itself is not told twice. */
function sayingThatNothingRan(message: string): string {
  if (/nothing was run/i.test(message)) return message
  return `${/[.!?]$/.test(message) ? message : `${message}.`} Nothing was run.`
}

/** The runners' promise: a coded error means that nothing was sent. Anything else may have been. */
function saysNothingRan(error: unknown): boolean {
  return error instanceof AppError && error.code !== 'internal' && error.code !== 'outcome_unknown'
}

function outcomeOf(reason: AppError): 'failed' | 'cancelled' {
  return reason.code === 'call_timed_out' ? 'failed' : 'cancelled'
}
