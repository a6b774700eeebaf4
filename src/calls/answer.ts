import { type CallId, deeperThan } from '../core/index.ts'
import type { RunnerAnswer } from '../runners/index.ts'
import { type Ending, withText } from './ending.ts'

const notRepeated =
  'It may have done part of its work and was not repeated; check its effects before you call again.'

/** Deeper than any tool means; far deeper ones run this process out of stack when they are written. */
const deepest = 256

/** What a client gets for a runner's answer. A source's own result passes as it is, with nothing added. */
export function endingOf(
  answer: RunnerAnswer,
  call: { callId: CallId; sourceId: string; maxResultBytes: number },
): Ending {
  const text = (outcome: Ending['outcome'], code: NonNullable<Ending['code']>, sentence: string) =>
    withText(call.callId, outcome, code, sentence)
  switch (answer.type) {
    case 'result':
      return resultEnding(answer.result, call)
    case 'rpc_error':
      // The tool's own answer, like the text of any of its results; it is not recorded.
      return text(
        'tool_error',
        'source_failed',
        `The source "${call.sourceId}" answered with an error (${answer.code}): ${answer.message.slice(0, 2_000)}`,
      )
    case 'failed':
      if (answer.code === 'call_cancelled') return text('cancelled', answer.code, answer.message)
      return text('failed', answer.code, `${sentence(answer.message)} ${notRepeated}`)
    case 'unknown':
      return text(
        'unknown',
        'outcome_unknown',
        `It is not known whether this call ran: ${sentence(answer.message)} It is not repeated; check its effects before you call again.`,
      )
  }
}

function resultEnding(
  result: Record<string, unknown>,
  call: { callId: CallId; sourceId: string; maxResultBytes: number },
): Ending {
  if (!Array.isArray(result['content']) && result['structuredContent'] === undefined)
    return withText(
      call.callId,
      'failed',
      'source_invalid_output',
      `The source "${call.sourceId}" answered with something that is no tool result. ${notRepeated}`,
    )
  if (deeperThan(result, deepest))
    return withText(
      call.callId,
      'failed',
      'source_invalid_output',
      `The source "${call.sourceId}" answered with a result that nests deeper than ${deepest} levels. ${notRepeated}`,
    )
  const bytes = Buffer.byteLength(JSON.stringify(result))
  if (bytes > call.maxResultBytes)
    return withText(
      call.callId,
      'failed',
      'too_large',
      `The tool ran, but its result has ${megabytes(bytes)} MiB and at most ${megabytes(call.maxResultBytes)} are passed on. Ask it for less, or to write to a file.`,
    )
  return { outcome: result['isError'] === true ? 'tool_error' : 'ok', code: null, result }
}

function megabytes(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1)
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}
