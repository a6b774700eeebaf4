import type { Pausable, Turns } from '../bounds/search-share.ts'
import { msPerSearchedByte, worked } from '../bounds/work.ts'
import { spent } from '../economy/spent-buffers.ts'
import type { InboundAnswer } from '../inbound/inbound.ts'
import { forwardedTrailers } from '../request/fields.ts'
import { EvenScrubber } from '../secrets/even-scrubber.ts'
import type { ScrubForms } from '../secrets/scrub.ts'
import type { UpstreamAnswer } from '../upstream/channel.ts'
import { asDecoded, cleanHead, saysEmpty, withoutLength } from './answer.ts'
import { AnswerBody, type Passed } from './answer-body.ts'
import { codingOf, DecodedBody } from './decode.ts'
import { Lull } from './lull.ts'
import { type Part, PartCutter, partHeaders, partStatus } from './part.ts'

/** So long the last of an answer that is cut off may take to leave. */
const lastWordsMs = 1_000

type Failure = 'upstream_failed' | 'scrub_failed'

interface Passage {
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
  ended: (failure: Failure | null) => void
  threw: (error: unknown) => void
}

/**
 * Passes an answer on as it comes, decoded and searched for `forms` if there are any, trailers too. `ended` is told
 * once how it went: an error, of the upstream or of the search, closes the answer where it stands and lets nothing
 * more out. `threw` is told what the search threw.
 */
export function passAnswer(passage: Passage): void {
  new PassingAnswer(passage).begin()
}

/** One answer on its way. */
class PassingAnswer {
  readonly #passage: Passage
  readonly #decoded: DecodedBody | undefined
  readonly #isEmpty: boolean
  readonly #scrubber: EvenScrubber | undefined
  readonly #cutter: PartCutter | undefined
  readonly #body: AnswerBody
  readonly #turns: Turns
  readonly #lull: Lull | undefined
  #isOver = false

  constructor(passage: Passage) {
    const { from, to, forms, part, passed } = passage
    this.#passage = passage
    this.#cutter = part && new PartCutter(part)
    const coding = forms === undefined || from.headOnly ? 'none' : codingOf(from.rawHeaders)
    if (coding !== 'none' && coding !== 'unknown') this.#decoded = new DecodedBody(from, coding)
    this.#isEmpty = saysEmpty(from.status)
    const source = this.#decoded ?? from
    this.#body = new AnswerBody({ to, source, passed, goesOn: () => this.#lull?.restart() })
    this.#turns = passage.turns(this.#body)
    if (forms === undefined) return
    const scrubber = new EvenScrubber(forms)
    this.#scrubber = scrubber
    this.#lull = new Lull({
      search: scrubber,
      isHeld: () => this.#body.isHeld && !to.gone(),
      letGo: () => {
        if (!to.gone()) this.#guarded(() => this.#letThrough(scrubber.takeMarked()))
      },
    })
  }

  begin(): void {
    const { from, to } = this.#passage
    this.#guarded(() => this.#sayHead())
    process.nextTick(() => {
      if (this.#isOver) return
      this.#body.endTurn()
      this.#lull?.wait()
    })
    // Whoever closes it before its end has the upstream ended; what was being decoded is all that is left here.
    if (this.#decoded !== undefined) to.onClosed(() => this.#end('upstream_failed'))
    const body = this.#decoded ?? from
    body.read({
      data: (part) => {
        if (this.#decoded === undefined) spent(part.length)
        if (this.#scrubber !== undefined) worked(part.length * msPerSearchedByte)
        this.#inTurn(() => this.#search(part))
      },
      ended: (trailers) => this.#inTurn(() => this.#finish(trailers)),
      failed: () => this.#end('upstream_failed'),
    })
  }

  #sayHead(): void {
    const { from, to, part, vouched } = this.#passage
    const whole = this.#decoded === undefined ? from.rawHeaders : asDecoded(from.rawHeaders)
    const headers = part === undefined ? whole : partHeaders(whole, part)
    const clean = cleanHead(this.#isEmpty ? withoutLength(headers) : headers, this.#scrubber, vouched)
    this.#count()
    try {
      const headOnly = from.headOnly || this.#isEmpty
      to.head(part === undefined ? from.status : partStatus(part), clean, { headOnly })
    } catch {
      // HTTP/2 has no room for such a head; or the client has gone, and whoever heard that ends this.
      if (!to.gone()) this.#end('upstream_failed')
    }
  }

  #inTurn(step: () => void): void {
    if (this.#scrubber === undefined) return step()
    this.#turns(() => (this.#passage.to.gone() ? undefined : step()))
  }

  #guarded(step: () => void): void {
    if (this.#isOver) return
    try {
      step()
    } catch (err) {
      this.#passage.threw(err)
      this.#end('scrub_failed')
    }
  }

  #search(part: Buffer): void {
    this.#guarded(() => {
      const clean = this.#scrubber === undefined ? part : this.#scrubber.push(part)
      this.#count()
      this.#letThrough(clean)
      if (!this.#body.isFirstTurn) this.#lull?.wait()
    })
  }

  #letThrough(searched: Buffer): void {
    if (this.#isEmpty) return
    this.#body.write(this.#cutter === undefined ? searched : this.#cutter.take(searched))
    // Nothing that the upstream still sends is needed.
    if (this.#cutter?.isWhole === true) this.#sayEnd([])
  }

  #sayEnd(fields: readonly string[]): void {
    if (this.#isOver) return
    this.#passage.to.end(fields, this.#body.first)
    this.#end(null)
  }

  #finish(trailers: readonly string[]): void {
    const { from } = this.#passage
    this.#guarded(() => {
      // It may have been cut off, by whoever is on the way, in the middle of a secret.
      if (from.untilClose && this.#scrubber?.isTelling === true) return this.#end('upstream_failed')
      if (this.#scrubber !== undefined) this.#letThrough(this.#scrubber.end())
      const fields = forwardedTrailers(trailers)
      this.#sayEnd(this.#scrubber === undefined ? fields : this.#scrubber.fields(fields))
    })
  }

  #end(failure: Failure | null): void {
    if (this.#isOver) return
    const { to, ended } = this.#passage
    const said = failure !== null && !to.gone() && this.#saySearched(failure)
    // What was searched may have been all of the part that was asked for.
    if (this.#isOver) return
    this.#isOver = true
    this.#lull?.end()
    this.#decoded?.destroy()
    if (failure !== null && !said) to.abort()
    this.#count()
    ended(failure)
  }

  /** Before it is cut off: what was searched. Whether that is on its way, and has it cut off behind it. */
  #saySearched(failure: Failure): boolean {
    const scrubber = this.#scrubber
    if (scrubber === undefined) return false
    scrubber.mark()
    const rest = failure === 'scrub_failed' ? scrubber.takeSearched() : scrubber.takeMarked()
    if (rest.length === 0 || failure === 'scrub_failed' || this.#cutter !== undefined) {
      this.#letThrough(rest)
      return false
    }
    const cut = () => {
      clearTimeout(timer)
      this.#passage.to.abort()
    }
    const timer = setTimeout(cut, lastWordsMs).unref()
    this.#body.writeLast(rest, cut)
    return true
  }

  /** At once: whoever ends it from outside records what was masked until then. */
  #count(): void {
    this.#passage.passed.redactions = this.#scrubber?.hits ?? 0
  }
}
