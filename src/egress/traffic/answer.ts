import type { Pausable, Turns } from '../bounds/search-share.ts'
import type { DenialReason } from '../decision/denial.ts'
import { spent } from '../economy/spent-buffers.ts'
import type { InboundAnswer } from '../inbound/inbound.ts'
import { forwardedTrailers, pairsOf } from '../request/fields.ts'
import { headerValues } from '../request/head.ts'
import { EvenScrubber } from '../secrets/even-scrubber.ts'
import { answeredHeaders } from '../secrets/inject.ts'
import type { ScrubForms } from '../secrets/scrub.ts'
import type { UpstreamAnswer } from '../upstream/channel.ts'
import { codingOf, createDecoder } from './decode.ts'
import { Lull } from './lull.ts'
import { type Part, PartCutter, partHeaders } from './part.ts'

/** Whether HTTP has such a status (RFC 9110 section 15). Node says no other by HTTP/2, so no client gets another. */
export function hasMeaning(status: number): boolean {
  return status >= 200 && status <= 599
}

/** Why an answer on a searched route is not let through; undefined when it can be searched as it is. */
export function unsearchable(answer: UpstreamAnswer): Extract<DenialReason, `answer_${string}`> | undefined {
  if (codingOf(answer.rawHeaders) === 'unknown' || !answer.plain()) return 'answer_encoded'
  // gRPC and Connect compress each message for itself, inside of the body.
  for (const name of ['grpc-encoding', 'connect-content-encoding'])
    if (headerValues(answer.rawHeaders, name).some((coding) => coding !== 'identity')) return 'answer_encoded'
  const partial = answer.status === 206 || headerValues(answer.rawHeaders, 'content-range').length > 0
  return partial ? 'answer_partial' : undefined
}

/** So long the last of an answer that is cut off may take to leave. */
const lastWordsMs = 1_000

/** What was let through so far. */
export interface Passed {
  bytes: number
  redactions: number
}

/**
 * Passes an answer on as it comes, decoded and searched for `forms` if there are any, trailers too. `ended` is told
 * once how it went: an error, of the upstream or of the search, closes the answer where it stands and lets nothing
 * more out. `threw` is told what the search threw.
 */
export function passAnswer(options: {
  from: UpstreamAnswer
  to: InboundAnswer
  forms: ScrubForms | undefined
  /** What alone of it goes on. */
  part: Part | undefined
  /** As in `answeredHeaders`. */
  vouched: boolean
  /** The turns that its search takes with others. */
  turns: (source: Pausable) => Turns
  passed: Passed
  ended: (failure: 'upstream_failed' | 'scrub_failed' | null) => void
  threw: (error: unknown) => void
}): void {
  const { from, to, forms, part, passed } = options
  const empty = saysEmpty(from.status)
  const coding = forms === undefined || from.headOnly ? 'none' : codingOf(from.rawHeaders)
  const decoder = coding === 'none' || coding === 'unknown' ? undefined : createDecoder(coding)
  const source = decoder ?? from
  /** Bytes of the coding so far. */
  let coded = 0
  const scrubber = forms === undefined ? undefined : new EvenScrubber(forms)
  const cutter = part && new PartCutter(part)
  let trailers: readonly string[] = []
  let over = false
  // The body's first part waits for the end of this turn, so that a short answer leaves in one piece with its head.
  let first: Buffer | undefined
  let turn: 'now' | 'over' = 'now'
  // At once: whoever ends it from outside records what was masked until then.
  const count = () => {
    passed.redactions = scrubber?.hits ?? 0
  }
  const end = (failure: Parameters<typeof options.ended>[0]) => {
    if (over) return
    const said = failure !== null && !to.gone() && saySearched(failure)
    over = true
    lull?.end()
    if (failure !== null) {
      decoder?.destroy()
      if (!said) to.abort()
    }
    count()
    options.ended(failure)
  }
  /** It brings no more while the client does not read, nor before its turn to be searched. */
  let holds = 0
  const hold = () => {
    holds += 1
    if (holds === 1) source.pause()
  }
  const letGo = () => {
    holds -= 1
    if (holds > 0) return
    source.resume()
    lull?.restart()
  }
  const turns = options.turns({ pause: hold, resume: letGo })
  const inTurn = (step: () => void) => {
    if (scrubber === undefined) step()
    else turns(() => (to.gone() ? undefined : step()))
  }
  const guarded = (step: () => void) => {
    if (over) return
    try {
      step()
    } catch (err) {
      options.threw(err)
      end('scrub_failed')
    }
  }
  const write = (bytes: Buffer) => {
    if (to.sink.write(bytes)) return
    hold()
    to.sink.once('drain', letGo)
  }
  const letThrough = (searched: Buffer) => {
    const bytes = cutter === undefined ? searched : cutter.take(searched)
    if (bytes.length === 0 || empty) return
    passed.bytes += bytes.length
    if (turn === 'now' && first === undefined) first = bytes
    else {
      endTurn()
      write(bytes)
    }
  }
  const endTurn = () => {
    if (turn === 'over') return
    turn = 'over'
    if (over || to.gone()) return
    lull?.wait()
    // A stream's head goes out before its first event.
    if (first === undefined) to.flush()
    else write(first)
    first = undefined
  }
  /** Before it is cut off: what was searched. Whether that is on its way, and has it cut off behind it. */
  const saySearched = (failure: 'upstream_failed' | 'scrub_failed') => {
    if (scrubber === undefined) return false
    scrubber.mark()
    const rest = failure === 'scrub_failed' ? scrubber.takeSearched() : scrubber.takeMarked()
    if (rest.length === 0 || failure === 'scrub_failed') {
      letThrough(rest)
      return false
    }
    endTurn()
    const cut = () => {
      clearTimeout(timer)
      to.abort()
    }
    const timer = setTimeout(cut, lastWordsMs).unref()
    passed.bytes += rest.length
    to.sink.write(rest, cut)
    return true
  }
  const search = (piece: Buffer) =>
    guarded(() => {
      const clean = scrubber === undefined ? piece : scrubber.push(piece)
      count()
      letThrough(clean)
      if (cutter?.isWhole === true) endPart()
      else if (turn === 'over') lull?.wait()
    })
  /** Nothing that the upstream still sends is needed. */
  const endPart = () => {
    to.end([], first)
    end(null)
  }
  const lull =
    scrubber &&
    new Lull({
      search: scrubber,
      isHeld: () => holds > 0 && !to.gone(),
      letGo: () => {
        if (to.gone()) return
        guarded(() => {
          letThrough(scrubber.takeMarked())
          if (cutter?.isWhole === true) endPart()
        })
      },
    })
  const finish = () =>
    guarded(() => {
      // It may have been cut off, by whoever is on the way, in the middle of a secret.
      if (from.untilClose && scrubber?.isTelling === true) return end('upstream_failed')
      if (scrubber !== undefined) letThrough(scrubber.end())
      const fields = forwardedTrailers(trailers)
      to.end(scrubber === undefined ? fields : scrubber.fields(fields), first)
      end(null)
    })

  guarded(() => {
    const whole = decoder === undefined ? from.rawHeaders : asDecoded(from.rawHeaders)
    const headers = part === undefined ? whole : partHeaders(whole, part)
    const clean = cleanHead(empty ? withoutLength(headers) : headers, scrubber, options.vouched)
    count()
    try {
      to.head(part === undefined ? from.status : 206, clean, { headOnly: from.headOnly || empty })
    } catch {
      // HTTP/2 has no room for such a head; or the client has gone, and whoever heard that ends this.
      if (!to.gone()) end('upstream_failed')
    }
  })
  process.nextTick(endTurn)
  decoder?.on('error', () => end('upstream_failed'))
  // Whoever closes it before its end has the upstream ended; what was being decoded is all that is left here.
  if (decoder !== undefined) to.onClosed(() => end('upstream_failed'))
  decoder?.on('data', (part: Buffer) => inTurn(() => search(part)))
  // It ends where its coding does. What stands behind that is neither decoded nor searched, and may never end.
  decoder?.on('end', () => (decoder.bytesWritten === coded ? inTurn(finish) : end('upstream_failed')))
  from.read({
    data(part) {
      spent(part.length)
      if (decoder === undefined) return inTurn(() => search(part))
      coded += part.length
      if (over || decoder.write(part)) return
      from.pause()
      decoder.once('drain', () => from.resume())
    },
    ended(fields) {
      trailers = fields
      if (decoder === undefined) inTurn(finish)
      else if (!over) decoder.end()
    },
    failed: () => end('upstream_failed'),
  })
}

/**
 * Whether a status says that there is no content (RFC 9110 sections 15.3.5 and 15.3.6). Some upstreams give it some all
 * the same, or say a length; by HTTP/2 both would break the stream.
 */
function saysEmpty(status: number): boolean {
  return status === 204 || status === 205
}

function withoutLength(rawHeaders: readonly string[]): string[] {
  return pairsOf(rawHeaders)
    .filter(([name]) => name.toLowerCase() !== 'content-length')
    .flat()
}

/** The head of an answer whose body has been decoded: of another length, and without its coding. */
function asDecoded(rawHeaders: readonly string[]): string[] {
  return pairsOf(rawHeaders)
    .filter(([name]) => !/^content-(?:encoding|length)$/i.test(name))
    .flat()
}

/** The fields of an answer's head that go on to the sandbox, masked where they are searched. */
export function cleanHead(
  rawHeaders: readonly string[],
  scrubber: Pick<EvenScrubber, 'fields'> | undefined,
  vouched: boolean,
): string[] {
  const headers = answeredHeaders(rawHeaders, vouched)
  return scrubber === undefined ? headers : scrubber.fields(headers)
}
