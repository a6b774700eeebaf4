import { theSecret } from '../../../support/egress-world.ts'
import type { Conversation, GotAnswer, Manners } from './client.ts'
import { tooLate, unasked } from './lies.ts'
import type { PlannedRequest, SeenRequest } from './plan.ts'

/** A client that ends its connection is heard out for a second by the proxy; half of it, to be sure. */
const heardOutMs = 500

/** What the proxy says to bytes that are no request. */
const refusals = [400, 403, 405, 407, 413, 426, 431, 501, 502]

/**
 * What is wrong with a conversation, if anything is: each answer must be the one that was planned for its request, or
 * what a lie of its upstream may come to, in order; nothing behind the last request is heard or let out; and the
 * connection ends before all are answered only for a reason.
 */
export function judge(
  requests: readonly PlannedRequest[],
  got: Conversation,
  seen: ReadonlyMap<string, SeenRequest>,
  manners: Manners,
): string | undefined {
  if (got.fault !== undefined) return got.fault
  if (got.text.includes(theSecret)) return 'the credential came back'
  const found = requests.findIndex((each) => each.ends === true || each.fate === 'broken')
  const last = found === -1 ? requests.length : found
  for (const [index, answer] of got.answers.entries()) {
    const request = requests[index]
    if (request === undefined || index > last) return 'an answer behind the last one'
    const wrong = judgeAnswer(request, answer, seen)
    if (wrong !== undefined)
      return `${wrong}: request ${index}, ${answer.status} ${answer.head.slice(0, 300)}`
  }
  return (
    judgeSent(requests, last, seen) ??
    (manners.leavesAfter !== undefined || manners.halfCloses
      ? undefined
      : judgeEnd(requests, got, last, seen, manners))
  )
}

/** Where its upstream paused in the first seven bytes of the credential, those are not masked (decision 0030). */
function withoutBeginnings(body: string): string {
  let masked = body
  for (let size = 7; size > 0; size -= 1)
    masked = masked.replaceAll(`${theSecret.slice(0, size)}*`, '*'.repeat(size + 1))
  return masked
}

/** What is wrong with an answer, if anything is: it must be what was planned for its request, or what may come of a lie. */
export function judgeAnswer(
  request: PlannedRequest,
  answer: GotAnswer,
  all: ReadonlyMap<string, SeenRequest>,
): string | undefined {
  const { fate, answer: planned } = request
  const seen = all.get(request.id)
  if (answer.id === undefined) {
    if (fate === 'broken') return refusals.includes(answer.status) ? undefined : 'bytes were answered'
    if (fate === 'refused') {
      if (answer.denied === undefined) return 'not refused'
      return request.reasons?.includes(answer.denied) === false ? `refused as ${answer.denied}` : undefined
    }
    // Its connection may have been closed as it was sent.
    const mayFail = planned?.may.includes('failed') === true || seen === undefined || seen.doubtful
    return mayFail ? undefined : 'a good answer failed'
  }
  if (fate === 'refused' || planned === undefined) return 'answered by an upstream'
  // What was too late for one request is taken for the answer to the next, and that one's own for another's yet, which
  // the upstream may never have read.
  if (seen === undefined ? answer.id === tooLate : seen.doubtful) return undefined
  if (all.get(answer.id)?.doubtful === true) return undefined
  if (`${answer.head}${answer.body}`.includes(unasked) || answer.id === tooLate)
    return 'an answer that nobody asked for'
  if (answer.id !== request.id) return 'the answer to another request'
  if (seen === undefined) return 'an answer to what was not sent'
  if (answer.untilClose && planned.may.includes('cut')) return undefined
  if (!planned.may.includes('whole')) return 'what cannot be read came whole'
  if (answer.status !== planned.status) return 'another status'
  // Whatever ends the connection under such a one cuts it, and a client of HTTP/1.0 cannot tell.
  const body = withoutBeginnings(answer.body)
  const wanted = planned.body === undefined ? undefined : withoutBeginnings(planned.body)
  const same = answer.untilClose ? wanted?.startsWith(body) !== false : (wanted ?? body) === body
  if (!same) return 'another body'
  if (!seen.whole && !planned.early) return 'answered before it was sent'
  return undefined
}

/** What the upstreams got. */
function judgeSent(
  requests: readonly PlannedRequest[],
  last: number,
  seen: ReadonlyMap<string, SeenRequest>,
): string | undefined {
  let before = -1
  for (const [index, request] of requests.entries()) {
    const each = seen.get(request.id)
    if (each === undefined) continue
    if (index > last) return `request ${index} was sent, which stands behind the last`
    if (each.at < before) return `request ${index} overtook another`
    before = each.at
    if (each.whole && request.fate === 'broken') return `request ${index} is broken and was sent whole`
    const same = each.whole ? each.body === request.body : request.body.startsWith(each.body)
    if (!same && request.fate !== 'broken') return `request ${index} was sent with another body`
  }
  return undefined
}

/** Whether the connection may have ended where it did. */
function judgeEnd(
  requests: readonly PlannedRequest[],
  { answers, rest, broke, sendingMs }: Conversation,
  last: number,
  seen: ReadonlyMap<string, SeenRequest>,
  { readsLate }: Manners,
): string | undefined {
  const index = answers.length
  const next = requests[index]
  if (next === undefined || index > last) return undefined
  const before = requests[index - 1]
  const answer = answers[index - 1]
  const sent = seen.get(next.id)
  const mayEnd =
    // Bytes that are no request take what is owed with them.
    requests[last]?.fate === 'broken' ||
    (sent === undefined ? isOfDoubtful(rest, seen) : sent.doubtful) ||
    next.answer?.may.includes('cut') === true ||
    before?.mayEnd === true ||
    before?.answer?.early === true ||
    // What was too late for another may have come before it was sent.
    (before !== undefined && seen.get(before.id)?.doubtful === true) ||
    (answer?.id !== undefined && answer.id !== before?.id) ||
    answer?.isLast === true ||
    (readsLate && sendingMs > heardOutMs) ||
    // It said that nothing would come behind it, and went on sending.
    (broke && index === last && last < requests.length - 1)
  return mayEnd ? undefined : `request ${index} was not answered but with "${rest.slice(0, 300)}"`
}

/** Whether what came of an answer was meant for another request, whose connection was doubtful. */
function isOfDoubtful(rest: string, seen: ReadonlyMap<string, SeenRequest>): boolean {
  const id = /\r\nx-id: (\S+)/i.exec(rest)?.[1]
  if (id === undefined) return rest !== ''
  return id === tooLate || seen.get(id)?.doubtful === true
}
