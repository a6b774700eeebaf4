import { createBudget, type Spent } from './budget.ts'
import { limitReason } from './limits.ts'

export interface Overspent {
  reason: 'request_rate_exceeded' | 'sent_bytes_exceeded' | 'proxy_overloaded'
  retryAfterSeconds: number
}

/** What a person may send in a time, and everybody together; undefined: it is theirs to send. */
export interface Allowance {
  /** A request or a CONNECT begins, with a head of so many bytes. */
  begin(principalId: string, headBytes: number): Overspent | undefined
  /** More of its body is about to be sent. */
  send(principalId: string, bytes: number): Overspent | undefined
}

export function createAllowance(options: {
  requestsPerMinutePerPrincipal: number
  requestsPerMinute: number
  sentPerHourPerPrincipal: number
  sentPerHour: number
  now: () => number
}): Allowance {
  const { now } = options
  const requests = createBudget({
    perPrincipal: options.requestsPerMinutePerPrincipal,
    total: options.requestsPerMinute,
    windowMs: 60_000,
    now,
  })
  const sent = createBudget({
    perPrincipal: options.sentPerHourPerPrincipal,
    total: options.sentPerHour,
    windowMs: 3_600_000,
    now,
  })
  const over = (spent: Spent | undefined, own: Overspent['reason']): Overspent | undefined =>
    spent === undefined
      ? undefined
      : {
          reason: limitReason(spent.by, own),
          retryAfterSeconds: spent.waitSeconds,
        }
  const send = (principalId: string, bytes: number) =>
    over(sent.spend(principalId, bytes), 'sent_bytes_exceeded')
  return {
    begin: (principalId, headBytes) =>
      over(requests.spend(principalId, 1), 'request_rate_exceeded') ?? send(principalId, headBytes),
    send,
  }
}

/** The bytes of a head as HTTP/1.1 would write it. */
export function headBytes(said: { method: string; target: string; rawHeaders: readonly string[] }): number {
  let bytes = said.method.length + said.target.length + 12
  for (const part of said.rawHeaders) bytes += part.length + 2
  return bytes
}
