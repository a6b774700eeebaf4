import { headerValues } from '../request/head.ts'
import type { UpstreamAnswer } from '../upstream/channel.ts'
import { codingOf } from './decode.ts'

/**
 * The bytes of an answer from `first` to `last`, both among them and counted from 0, and how many it has in all. With
 * `last` before `first` there are none, and that is said.
 */
export interface Part {
  first: number
  last: number
  of: number
}

/** By what Azure's storage is asked for a part; beside it `Range` says nothing. All its clients load by it. */
const azureRange = 'x-ms-range'

/** They say something of the bytes that are sent, or are taken for that, and stood there for the whole. */
const ofTheWhole = /^(?:content-length|content-md5|content-digest|digest|x-amz-checksum-.*)$/i

/**
 * The part that a client asked for (RFC 9110 section 14.2) of an answer to GET that is searched; undefined where it is
 * to have the whole, as any server may answer. What asks for it does not go out, for of a part alone nobody could say
 * what it is a part of: it is cut out of the whole, once that was searched.
 */
export function askedPart(
  asked: { method: string; rawHeaders: readonly string[] },
  answer: Pick<UpstreamAnswer, 'status' | 'rawHeaders' | 'headOnly'>,
): Part | undefined {
  if (asked.method !== 'GET' || answer.status !== 200) return undefined
  const length = only(answer.rawHeaders, 'content-length')
  const isAzure = headerValues(asked.rawHeaders, azureRange).length > 0
  const wanted = only(asked.rawHeaders, isAzure ? azureRange : 'range')
  const range = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(wanted ?? '')
  if (length === undefined || range === null || codingOf(answer.rawHeaders) !== 'none') return undefined
  // Of two versions of a file nobody shall get parts that are put together.
  if (headerValues(asked.rawHeaders, 'if-range').length > 0) {
    const version = only(asked.rawHeaders, 'if-range')
    if (version?.startsWith('"') !== true || version !== only(answer.rawHeaders, 'etag')) return undefined
  }
  const of = Number(length)
  const [, begin = '', end = ''] = range
  if (begin === '' && end === '') return undefined
  // Azure's own clients take the length from Content-Range alone, and learn by 416 that there is nothing.
  if (of === 0) return isAzure ? { first: 0, last: -1, of } : undefined
  if (answer.headOnly) return undefined
  const first = begin === '' ? Math.max(0, of - Number(end)) : Number(begin)
  const last = begin === '' || end === '' ? of - 1 : Math.min(Number(end), of - 1)
  return first <= last ? { first, last, of } : undefined
}

function only(rawHeaders: readonly string[], name: string): string | undefined {
  const [value, ...more] = headerValues(rawHeaders, name)
  return more.length === 0 ? value?.trim() : undefined
}

export function partStatus({ first, last }: Part): number {
  return last < first ? 416 : 206
}

/** The fields of the whole answer's head that hold for a part of it too, and those that say which part it is. */
export function partHeaders(rawHeaders: readonly string[], { first, last, of }: Part): string[] {
  const headers = rawHeaders.filter((_, i) => !ofTheWhole.test(rawHeaders[i - (i % 2)] ?? ''))
  const range = last < first ? '*' : `${first}-${last}`
  headers.push('Content-Range', `bytes ${range}/${of}`, 'Content-Length', String(last - first + 1))
  return headers
}

/** Cuts a part out of what comes piece by piece. */
export class PartCutter {
  readonly #part: Part
  #at = 0

  constructor(part: Part) {
    this.#part = part
  }

  /** Whether nothing of it is still to come. */
  get isWhole(): boolean {
    return this.#at > this.#part.last
  }

  take(piece: Buffer): Buffer {
    const { first, last } = this.#part
    const at = this.#at
    this.#at += piece.length
    return piece.subarray(Math.max(0, first - at), Math.max(0, last + 1 - at))
  }
}
