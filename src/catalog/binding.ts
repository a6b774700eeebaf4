import { z } from 'zod'

/** Where on the wire a credential may stand, read from its one spelling in the configuration. */
export type Slot =
  | { kind: 'header'; name: string }
  /** `Authorization: Basic`, of a text `user:password`. */
  | { kind: 'basic' }
  | { kind: 'query'; name: string }
  /** The nth segment of the path, counted from 1. */
  | { kind: 'path'; segment: number }
  /** A member of a JSON body, by the reference tokens of its JSON Pointer (RFC 6901). */
  | { kind: 'body'; pointer: string[] }

// Hop-by-hop (RFC 9110 section 7.6.1), what is the proxy's own, and what it frames or answers itself.
export const hopHeaders: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'host',
  'expect',
])
/** A part of an answer, or a compressed one, cannot be searched for what was injected, or costs more to be. */
export const searchHazards: ReadonlySet<string> = new Set([
  'accept-encoding',
  'grpc-accept-encoding',
  'connect-accept-encoding',
  'range',
  'if-range',
  // What Range was called once; some servers still know it.
  'request-range',
  // Azure's storage asks by a name of its own, and answers 400 to a sum over a part without it.
  'x-ms-range',
  'x-ms-range-get-content-md5',
  'x-ms-range-get-content-crc64',
])
// They say what a body is; a credential in them is a mistake.
const bodyHeaders = new Set(['content-type', 'content-encoding'])

/** Whether a credential may stand in this header; the proxy's own and the framing are not for rules. */
export function injectable(header: string): boolean {
  return (
    !hopHeaders.has(header) &&
    !searchHazards.has(header) &&
    !bodyHeaders.has(header) &&
    !header.startsWith('proxy-')
  )
}

/** Reads a slot; undefined for anything but the one spelling of one. */
export function parseSlot(text: string): Slot | undefined {
  if (text === 'basic') return { kind: 'basic' }
  const colon = text.indexOf(':')
  const rest = text.slice(colon + 1)
  switch (text.slice(0, colon)) {
    case 'header':
      return /^[a-z0-9-]+$/.test(rest) && injectable(rest) ? { kind: 'header', name: rest } : undefined
    case 'query':
      return /^[A-Za-z0-9_.~-]+$/.test(rest) ? { kind: 'query', name: rest } : undefined
    case 'path':
      return /^[1-9][0-9]?$/.test(rest) ? { kind: 'path', segment: Number(rest) } : undefined
    case 'body': {
      if (!/^(?:\/(?:[^~/]|~[01])*)+$/.test(rest)) return undefined
      const unescape = (token: string) => token.replaceAll('~1', '/').replaceAll('~0', '~')
      return { kind: 'body', pointer: rest.slice(1).split('/').map(unescape) }
    }
    default:
      return undefined
  }
}

/** Whether two credentials would be put over each other, or one into what the other is put into. */
export function slotsOverlap(a: Slot, b: Slot): boolean {
  if (a.kind === 'body' && b.kind === 'body') {
    const [short, long] = a.pointer.length < b.pointer.length ? [a, b] : [b, a]
    return short.pointer.every((token, i) => token === long.pointer[i])
  }
  if (a.kind === 'path' && b.kind === 'path') return a.segment === b.segment
  if (a.kind === 'query' && b.kind === 'query') return queryKey(a.name) === queryKey(b.name)
  const header = (slot: Slot) =>
    slot.kind === 'basic' ? 'authorization' : slot.kind === 'header' ? slot.name : undefined
  return header(a) !== undefined && header(a) === header(b)
}

/** What different servers take for the same parameter: `Api_Key`, `api.key[]` and `api_key`. */
export function queryKey(name: string): string {
  return (name.split('[')[0] ?? '').trim().toLowerCase().replace(/[ .]/g, '_')
}

const forms =
  'use header:<name>, basic, query:<name>, path:<number of the segment> or body:<JSON pointer>, such as header:authorization'

function slotProblem(text: string): string {
  if (!text.startsWith('header:')) return forms
  const lower = text.toLowerCase()
  if (lower !== text && parseSlot(lower) !== undefined) return `write the header in lower case: ${lower}`
  return `${forms}; headers of the connection, of the framing and of the proxy are not for rules`
}

/** How rules name what the vault holds. */
export const credentialName = z
  .string()
  .regex(/^[A-Z][A-Z0-9_]*$/, 'use capitals, digits and underscores, e.g. ORDERS_KEY')

/** One credential of a rule and the one place where it may stand. */
export const binding = z.strictObject({
  credential: credentialName,
  into: z.string().refine((text) => parseSlot(text) !== undefined, {
    error: ({ input }) => slotProblem(String(input)),
  }),
  /** `{value}` stands for the secret. */
  format: z
    .string()
    .regex(/^[\x20-\x7e]*$/, 'use printable ASCII')
    .refine((format) => format.split('{value}').length === 2, { error: 'write {value} once' })
    .default('{value}'),
  /** The sandbox holds a stand-in, and only that is replaced, in this slot and for this rule. */
  placeholder: z.boolean().default(false),
  /** What the stand-in begins with, for programs that look at the shape of a key. */
  prefix: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,24}$/, 'use 1-24 of letters, digits, "_" and "-", e.g. sk-')
    .default('toolcrib-'),
  /** How many copies of the stand-in one request may carry where the proxy looks for it; more are refused. */
  at_most: z.number().int().min(1).max(8).default(1),
})
export type Binding = z.infer<typeof binding>
