import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../core/index.ts'
import { beginOrRefuse } from './begin.ts'
import type { CallDeps } from './deps.ts'
import { type Ending, withText } from './ending.ts'
import type { CallFacts } from './facts.ts'
import { Flying } from './flying.ts'
import type { Resolution } from './resolve.ts'
import { sourceToRun } from './source-to-run.ts'
import type { CallHooks, CallRequest } from './types.ts'

/** From the early answer to a client until the sandbox is not waited for any more, and the outcome is `unknown`. */
const giveUpAfterMs = 30_000
/** The toolhost ends a call that takes too long; this much later it is ended from here. */
const lateMs = 10_000

/** `answer` is for the client, now; `late` is the ending to record when the sandbox was not done by then. */
export interface Execution {
  answer: Ending
  late?: Promise<Ending>
}

/** Hands a decided and validated call to the runner, at most once, and turns whatever happens into an ending. */
export async function execute(
  deps: CallDeps,
  request: CallRequest,
  hooks: CallHooks,
  facts: CallFacts,
  decided: Resolution,
): Promise<Execution> {
  const flight = new Flying()
  const { source, tool } = decided
  if (source === undefined || tool === undefined) throw new Error('an allowed call has a tool and a source')
  const callId = facts.call.id
  const timeoutMs = source.spec.timeout_seconds * 1_000

  const cancelled = () => flight.end(new AppError('call_cancelled', 'This call was cancelled by its client.'))
  if (hooks.signal.aborted) cancelled()
  else hooks.signal.addEventListener('abort', cancelled, { once: true })
  const leave = deps.flights.enter({
    callId,
    caller: request.caller,
    toolkit: request.toolkit,
    alias: request.alias,
    decidedVersion: decided.catalog.version,
    note: (sentence) => flight.note(sentence),
    end: (reason) => flight.end(reason),
  })
  let late: NodeJS.Timeout | undefined

  const sending = async (life: { runnerId: NonNullable<typeof facts.call.runnerId>; generation: number }) => {
    flight.demandRight()
    if (facts.row !== 'none' || flight.refusal !== undefined) throw new Error('a call is sent once')
    facts.call.runnerId = life.runnerId
    facts.call.generation = life.generation
    try {
      await beginOrRefuse(deps, request, facts, decided)
    } catch (error) {
      flight.refusal = undecided(error)
      throw flight.refusal
    }
    hooks.begun?.()
    // Its right may have ended while the row was written; the row stands, and is closed like any other.
    flight.demandRight()
    flight.sent = true
    late = setTimeout(() => flight.end(tooLate(timeoutMs)), timeoutMs + lateMs).unref()
  }

  const settled = deps.runners
    .call(
      {
        callId,
        principalId: request.caller.principalId,
        source: sourceToRun(source),
        tool: tool.remoteName,
        arguments: request.arguments,
        timeoutMs,
      },
      {
        signal: flight.controller.signal,
        progress: (frame) => hooks.progress(frame.progress, frame.total, frame.message),
        waiting: (sentence) => hooks.waiting(sentence),
        sending,
      },
    )
    .then(
      async (answer) =>
        await flight.annotated(
          flight.answered(answer, { callId, sourceId: source.id, maxResultBytes: deps.maxResultBytes }),
          async () => await deps.notices?.caughtUp(),
        ),
      (error: unknown) => flight.failed(callId, error, deps.log),
    )
    .finally(() => {
      clearTimeout(late)
      leave()
      hooks.signal.removeEventListener('abort', cancelled)
    })

  const first = await Promise.race([settled, flight.patienceOver])
  if (first !== undefined) return { answer: first }
  const reason = flight.reason ?? new AppError('internal', 'The call ended.')
  const silent = sleep(giveUpAfterMs, undefined, { ref: false }).then(() =>
    withText(callId, 'unknown', reason.code, 'The sandbox did not confirm the end of this call.'),
  )
  return {
    answer: withText(callId, 'cancelled', reason.code, reason.message),
    late: Promise.race([settled, silent]),
  }
}

function tooLate(timeoutMs: number): AppError {
  return new AppError(
    'call_timed_out',
    `The tool took longer than ${timeoutMs / 1_000} s and was ended. It may have done part of its work and was not repeated.`,
  )
}

/** Something unforeseen, most likely of the database, before anything was sent. */
export function undecided(error: unknown): AppError {
  if (error instanceof AppError) return error
  return new AppError(
    'unavailable',
    'This call could not be decided, so it was not run. Call again in a moment; an admin finds the cause in the log.',
    { cause: error },
  )
}
