import { theSecret } from '../../../support/egress-world.ts'
import { judgeAnswer } from '../wire/judge.ts'
import type { SeenRequest } from '../wire/plan.ts'
import type { GotStream, Manners } from './client.ts'
import { errorCode } from './peer.ts'
import type { PlannedStream } from './plan.ts'
import type { Frames } from './upstream.ts'

/**
 * What is wrong with a conversation, if anything is: each answer is the one that was planned for its request, or what a
 * lie of its upstream may come to, whatever the streams beside it do; nothing refused, broken or taken back is heard
 * whole; and the connection ends for a reason.
 */
export function judgeStreams(
  plans: readonly PlannedStream[],
  got: readonly GotStream[],
  { script, refused }: Frames,
  manners: Manners,
  calm: boolean,
): { wrong: string; index: number } | undefined {
  const mayEnd =
    manners.breaks !== undefined ||
    manners.leavesAfterMs !== undefined ||
    plans.some(({ endsAll }) => endsAll === true)
  for (const [index, plan] of plans.entries()) {
    const one = got[index]!
    const wrong =
      judgeSent(plan, script.seen.get(plan.id)) ??
      one.fault ??
      judgeOne(plan, one, script.seen, refused.has(plan.id), mayEnd, calm)
    if (wrong !== undefined) return { wrong, index }
  }
  return undefined
}

function judgeSent(plan: PlannedStream, seen: SeenRequest | undefined): string | undefined {
  if (seen === undefined) return undefined
  if (plan.fate === 'refused') return 'sent, and to be refused'
  if (plan.fate === 'broken' && plan.answer === undefined) return 'sent, and broken'
  // By HTTP/1.1 its length is its end, and that more comes behind it may be found later.
  const isByLength = plan.act === undefined && plan.head.some(([name]) => name === 'content-length')
  if (plan.fate === 'broken') {
    if (isByLength && plan.endsAll === true)
      return plan.sent.toString('latin1').startsWith(seen.body) ? undefined : 'sent with another body'
    return seen.whole ? 'broken, and sent whole' : undefined
  }
  const same = seen.whole ? seen.body === plan.body : plan.body.startsWith(seen.body)
  if (!same) return 'sent with another body'
  // Without its end it is not whole.
  return seen.whole && plan.staysOpen === true && !isByLength ? 'taken back, and sent whole' : undefined
}

function judgeOne(
  plan: PlannedStream,
  { answer, trailers, end }: GotStream,
  all: ReadonlyMap<string, SeenRequest>,
  wasRefused: boolean,
  mayEnd: boolean,
  calm: boolean,
): string | undefined {
  const text = `${answer?.head}${answer?.body}${JSON.stringify(trailers)}`
  if (text.includes(theSecret)) return 'the credential came back'
  if (text.includes('x-dropped')) return 'a field that is none came back'
  if (plan.takenBack !== undefined && end !== 'end') return undefined
  // What ends with its connection is reset first, if there is time.
  if (end !== 'end' && mayEnd) return undefined
  if (end === 'closed') return 'closed with its connection'
  const seen = all.get(plan.id)
  if (plan.fate === 'broken' && end !== 'end') return undefined
  if (plan.fate === 'broken' && seen !== undefined && plan.answer?.early === true) return undefined
  if (end === 'end' && answer !== undefined) {
    const isFailed = answer.id === undefined && plan.fate === 'out'
    // Who has been told to go on cannot be told by a reset that it was not begun with.
    const mayBeTold = seen === undefined && plan.expects === true && answer.denied === 'upstream_refused'
    const mayFail = mayBeTold || plan.answer?.may.includes('failed') === true
    if (isFailed && (calm || seen?.doubtful === false) && !mayFail)
      return `a good answer failed: ${answer.status} ${answer.denied}`
    if (
      isFailed &&
      (calm ? wasRefused : plan.refuses === true && seen?.doubtful === false) &&
      answer.denied !== 'upstream_refused'
    )
      return `refused by its upstream, and told as ${answer.denied}`
    const wrong = judgeAnswer(plan, answer, all)
    return wrong === undefined ? undefined : `${wrong}: ${answer.status} ${answer.head.slice(0, 300)}`
  }
  if (end === 'end') return 'an end without a head'
  if (plan.fate === 'refused') return `not refused, but reset with ${end}`
  if (answer === undefined && end === errorCode.refused)
    // A promise that nothing was begun, which nothing may belie.
    return plan.refuses === true || wasRefused || seen === undefined
      ? undefined
      : 'refused, and was begun with'
  // A reset overtakes a head that waits to be written.
  const mayBeCut =
    plan.answer?.may.includes('cut') === true || seen?.doubtful === true || (seen === undefined && !calm)
  return mayBeCut && end === errorCode.internal
    ? undefined
    : `cut off with ${end}: ${answer?.head.slice(0, 200)}`
}
