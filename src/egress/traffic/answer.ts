import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DenialReason } from '../decision/denial.ts'
import { answeredHeaders } from '../secrets/inject.ts'
import { Scrubber, type ScrubForms } from '../secrets/scrub.ts'
import { plainlyFramed } from './upstream.ts'

/** Why an answer on a searched route is not let through; undefined when it can be searched as it is. */
export function unsearchable(answer: IncomingMessage): Extract<DenialReason, `answer_${string}`> | undefined {
  const encoding = answer.headers['content-encoding']
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') return 'answer_encoded'
  if (!plainlyFramed(answer)) return 'answer_encoded'
  if (answer.statusCode === 206 || answer.headers['content-range'] !== undefined) return 'answer_partial'
  return undefined
}

/** What was let through so far. */
export interface Passed {
  bytes: number
  redactions: number
}

/**
 * Passes an answer on as it comes, searched for `forms` if there are any. `ended` is told once how it went: an
 * error, of the upstream or of the search, closes the answer where it stands and lets nothing more out.
 */
export function passAnswer(options: {
  answer: IncomingMessage
  res: ServerResponse
  forms: ScrubForms | undefined
  passed: Passed
  ended: (failure: 'upstream_failed' | 'scrub_failed' | null) => void
}): void {
  const { answer, res, forms, passed } = options
  const scrubber = forms === undefined ? undefined : new Scrubber(forms)
  let over = false
  const end = (failure: Parameters<typeof options.ended>[0]) => {
    if (over) return
    over = true
    passed.redactions = scrubber?.hits ?? 0
    if (failure === null) res.end()
    else {
      answer.destroy()
      res.destroy()
    }
    options.ended(failure)
  }
  const guarded = (step: () => void) => {
    try {
      step()
    } catch {
      end('scrub_failed')
    }
  }
  const letThrough = (bytes: Buffer) => {
    if (bytes.length === 0) return
    passed.bytes += bytes.length
    if (res.write(bytes)) return
    answer.pause()
    res.once('drain', () => answer.resume())
  }

  answer.on('error', () => end('upstream_failed'))
  answer.on('aborted', () => end('upstream_failed'))
  res.on('close', () => {
    if (!res.writableFinished) end('upstream_failed')
  })
  guarded(() => {
    const headers = answeredHeaders(answer.rawHeaders, scrubber !== undefined)
    res.writeHead(answer.statusCode ?? 502, scrubber === undefined ? headers : scrubbed(headers, scrubber))
    // A stream's head goes out before its first event; a short answer leaves in one piece.
    setImmediate(() => {
      if (!over && !res.destroyed) res.flushHeaders()
    })
    answer.on('data', (chunk: Buffer) =>
      guarded(() => {
        if (!over) letThrough(scrubber === undefined ? chunk : scrubber.push(chunk))
      }),
    )
    answer.on('end', () =>
      guarded(() => {
        if (over) return
        if (scrubber !== undefined) letThrough(scrubber.end())
        end(null)
      }),
    )
  })
}

function scrubbed(headers: string[], scrubber: Scrubber): string[] {
  const clean: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (scrubber.text(name) !== name) continue
    clean.push(name, scrubber.text(headers[i + 1] ?? ''))
  }
  return clean
}
