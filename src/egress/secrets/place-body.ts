import { cgiName, pairsOf } from '../request/fields.ts'
import { headerValues } from '../request/head.ts'
import { jsonOctetText, octetText } from './decoded.ts'
import { findInJson, type JsonPlace } from './json-slots.ts'
import { placeInPairs } from './place-target.ts'
import { type Bound, filled, type PlacementRefusal, refused, replaces } from './slot.ts'

/** How a body is written, by its Content-Type; undefined for one that no credential can be put into. */
export type BodyForm = 'json' | 'form'

export type PlacedBody =
  | { ok: true; body: Buffer; used: Bound[]; readable: string }
  | { ok: false; reason: PlacementRefusal; bound: Bound }

/** What the head says about the body, or why no credential can be put into it. */
export function bodyForm(
  rawHeaders: readonly string[],
): { ok: true; form: BodyForm } | ReturnType<typeof refused> {
  const read = pairsOf(rawHeaders).map(([name]) => cgiName(name))
  if (read.includes('content-encoding')) return refused('body_encoded')
  const types = headerValues(rawHeaders, 'content-type')
  // In another spelling it may be the one that counts.
  if (read.filter((name) => name === 'content-type').length > types.length) return refused('body_malformed')
  const match = /^([a-z0-9.+/-]+)[ \t]*(?:;[ \t]*charset="?utf-8"?)?$/i.exec(types[0] ?? '')
  const type = match?.[1]?.toLowerCase()
  if (types.length !== 1 || type === undefined) return refused('body_malformed')
  if (type === 'application/x-www-form-urlencoded') return { ok: true, form: 'form' }
  if (type === 'application/json' || /^application\/[a-z0-9.-]+\+json$/.test(type))
    return { ok: true, form: 'json' }
  return refused('body_malformed')
}

/** The body with every credential in its place, everything else of it byte for byte as it was. */
export function placeInBody(body: Buffer, form: BodyForm, bound: readonly Bound[]): PlacedBody {
  const [first] = bound
  if (first === undefined) return { ok: true, body, used: [], readable: '' }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    return { ok: false, reason: 'body_malformed', bound: first }
  }
  return form === 'form' ? placeInForm(text, bound, first) : placeInJson(text, bound, first)
}

/** More than any form has, and as many as can be looked at while nobody else is served. */
const maxFields = 10_000

function placeInForm(text: string, bound: readonly Bound[], first: Bound): PlacedBody {
  if (text.split(/[&;]/, maxFields + 1).length > maxFields)
    return { ok: false, reason: 'body_too_large', bound: first }
  const used: Bound[] = []
  let now = text
  for (const each of bound) {
    const pointer = pointerOf(each)
    // A form has no depth.
    if (pointer.length !== 1) return { ok: false, reason: 'slot_missing', bound: each }
    const placed = placeInPairs(now, pointer[0] ?? '', each)
    if (!placed.ok) return { ok: false, reason: placed.reason, bound: each }
    now = placed.now
    if (placed.used) used.push(each)
  }
  return { ok: true, body: Buffer.from(now), used, readable: octetText(text) }
}

function placeInJson(text: string, bound: readonly Bound[], first: Bound): PlacedBody {
  const found = findInJson(text, bound.map(pointerOf))
  if (typeof found === 'string') {
    const reason = found === 'too_many_values' ? 'body_too_large' : 'body_malformed'
    return { ok: false, reason, bound: first }
  }
  const edits: { start: number; end: number; text: string }[] = []
  const used: Bound[] = []
  for (const [i, each] of bound.entries()) {
    const place = found[i]
    if (place === undefined || (place.kind === 'room' && each.placeholder !== undefined)) {
      if (each.placeholder !== undefined) continue
      return { ok: false, reason: 'slot_missing', bound: each }
    }
    if (place.kind === 'value' && each.placeholder !== undefined && !replaces(each, place.text ?? '')) {
      return { ok: false, reason: 'placeholder_missing', bound: each }
    }
    // The second of two members for one empty object comes before the first.
    const empty = place.kind === 'room' && place.empty && !edits.some(({ start }) => start === place.at)
    edits.push(editOf(place.kind === 'room' ? { ...place, empty } : place, each))
    used.push(each)
  }
  // From the end, so that what comes before keeps its place.
  let now = text
  for (const edit of edits.sort((a, b) => b.start - a.start)) {
    now = now.slice(0, edit.start) + edit.text + now.slice(edit.end)
  }
  return { ok: true, body: Buffer.from(now), used, readable: jsonOctetText(text) }
}

function editOf(place: JsonPlace, bound: Bound): { start: number; end: number; text: string } {
  const value = JSON.stringify(filled(bound))
  if (place.kind === 'value') return { start: place.start, end: place.end, text: value }
  const member = `${JSON.stringify(pointerOf(bound).at(-1))}:${value}`
  return { start: place.at, end: place.at, text: place.empty ? member : `${member},` }
}

function pointerOf({ slot }: Bound): string[] {
  return slot.kind === 'body' ? slot.pointer : []
}
