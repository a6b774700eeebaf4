import type { AppError, CallId, ErrorCode, Outcome } from '../core/index.ts'

/** How a call ended: what is recorded, and what the client gets. */
export interface Ending {
  outcome: Outcome
  code: ErrorCode | null
  result: Record<string, unknown>
}

const denials: readonly ErrorCode[] = [
  'forbidden',
  'not_found',
  'principal_deactivated',
  'token_expired',
  'token_revoked',
  'token_unknown',
  'tool_blocked',
  'tool_unknown',
  'tool_unreviewed',
]

/** A call that was refused or went wrong before anything ran. */
export function refused(callId: CallId, error: AppError): Ending {
  return withText(callId, denials.includes(error.code) ? 'denied' : 'failed', error.code, error.message)
}

/** An ending of ours: a result that a model can read, with the cause, the cure and the call id. */
export function withText(callId: CallId, outcome: Outcome, code: ErrorCode, sentence: string): Ending {
  return {
    outcome,
    code,
    result: {
      content: [{ type: 'text', text: `${sentence} (call ${callId})` }],
      isError: true,
      _meta: { 'toolcrib/callId': callId, 'toolcrib/code': code },
    },
  }
}
