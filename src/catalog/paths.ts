/** A path in its one spelling, and the query as it was sent (with its `?`, or empty). */
export type CanonicalPath = { ok: true; path: string; query: string } | { ok: false; reason: PathRefusal }
export type PathRefusal = 'path_malformed' | 'path_ambiguous'

const unreserved = /[A-Za-z0-9._~-]/
const pathCharacters = /^(?:[A-Za-z0-9._~!$&'()*+,=:@/-]|%[0-9A-Fa-f]{2})*$/
// Octets that one server reads as structure and the next as data: / \ . ; % # ? NUL and controls.
const structural = /%(?:2f|5c|2e|3b|25|23|3f|[01][0-9a-f]|7f)/i

// What most paths are made of, and then there is nothing to decode and nothing that could be read in two ways.
const plain = /^(?:\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+\/?$/

/**
 * The canonical form of an origin-form target. Encoded unreserved letters are decoded and escapes written in
 * capitals; whatever two servers could read as different paths (dot segments, `//`, `\`, `;`, encoded slashes,
 * dots or percent signs, overlong UTF-8) is refused. The result is what is matched, sent and recorded.
 */
export function canonicalPath(target: string): CanonicalPath {
  if (!target.startsWith('/') || !/^[\x21-\x7e]*$/.test(target) || target.includes('#')) {
    return { ok: false, reason: 'path_malformed' }
  }
  const mark = target.indexOf('?')
  const raw = mark === -1 ? target : target.slice(0, mark)
  const query = mark === -1 ? '' : target.slice(mark)
  if (plain.test(raw)) return { ok: true, path: raw, query }
  if (raw.includes('\\') || raw.includes(';') || raw.includes('//') || structural.test(raw)) {
    return { ok: false, reason: 'path_ambiguous' }
  }
  if (!pathCharacters.test(raw)) return { ok: false, reason: 'path_malformed' }
  const read = utf8Of(raw)
  if (read === undefined || mayFoldToDots(read)) return { ok: false, reason: 'path_ambiguous' }
  const path = respelled(raw)
  return path.split('/').some(isDots) ? { ok: false, reason: 'path_ambiguous' } : { ok: true, path, query }
}

const encodedSlash = /%2f/i

/**
 * The canonical form of what is asked for: as `canonicalPath`, but an encoded slash may stand in a segment, as npm
 * (`/@types%2fnode`), GitHub and GitLab write a name with a slash in it. It is refused where a server that takes it for
 * a slash would read one of the forms that are refused there. Which rule it is for depends on `surePath`.
 */
export function requestPath(target: string): CanonicalPath {
  const mark = target.indexOf('?')
  const raw = mark === -1 ? target : target.slice(0, mark)
  if (!encodedSlash.test(raw)) return canonicalPath(target)
  const pieces = raw.split(encodedSlash)
  const asSlash = canonicalPath(`${pieces.join('/')}${target.slice(raw.length)}`)
  if (!asSlash.ok) return asSlash
  // Piece by piece it is spelled alike: nothing in a canonical form depends on what stands beyond a slash.
  const [first = '', ...others] = pieces
  const spelled = [canonicalPath(first), ...others.map((piece) => canonicalPath(`/${piece}`))]
  const paths = spelled.map((piece, i) => (piece.ok ? piece.path.slice(i === 0 ? 0 : 1) : ''))
  return spelled.every(({ ok }) => ok)
    ? { ok: true, path: paths.join('%2F'), query: asSlash.query }
    : { ok: false, reason: 'path_ambiguous' }
}

/**
 * The part of a request's path that every server reads alike: without the segment with its first encoded slash and all
 * behind it. What lies under a prefix with it does so in every reading.
 */
export function surePath(path: string): string {
  const first = path.indexOf('%2F')
  return first === -1 ? path : path.slice(0, path.lastIndexOf('/', first) + 1)
}

// An object's key may have in it what servers of other kinds read as structure.
const keyCharacters = /^(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$/
// What nobody writes so into a key, or into any.
const notOfKeys = /%(?:[01][0-9a-f]|7f|2e|2f)/i
const structureOfKeys = /\/\/|;|%(?:3B|25|3F|23|5C)/
/** What may be decoded more often than this is refused: it would be looked at for as long as its sender likes. */
const mostDecodings = 4

/**
 * The canonical form of a path that `requestPath` refuses, where it is the key of an object: `//`, `;` and what stands
 * for `%`, `;`, `?`, `#` and `\` are letters of it. Which rule it is for depends on `sureKeyPath`. However often it is
 * decoded, and whatever of these is taken for structure, no segment of it is one of dots.
 */
export function keyPath(target: string): CanonicalPath {
  const mark = target.indexOf('?')
  const raw = mark === -1 ? target : target.slice(0, mark)
  if (!raw.startsWith('/') || !keyCharacters.test(raw)) return { ok: false, reason: 'path_malformed' }
  // To many that is the beginning of a host.
  if (raw.startsWith('//')) return { ok: false, reason: 'path_ambiguous' }
  if (!/^[\x21-\x7e]*$/.test(target) || target.includes('#')) return { ok: false, reason: 'path_malformed' }
  const path = respelled(raw)
  return notOfKeys.test(raw) || utf8Of(raw) === undefined || mayHaveDots(path)
    ? { ok: false, reason: 'path_ambiguous' }
    : { ok: true, path, query: target.slice(raw.length) }
}

function mayHaveDots(path: string): boolean {
  let read = path
  for (let times = 0; times < mostDecodings; times += 1) {
    const segments = read.split(/[/\\]/).map((segment) => segment.replace(/[;?#].*/s, ''))
    if (segments.some(isDots)) return true
    const next = read.replace(/%([0-9A-F]{2})/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    )
    if (next === read) return false
    read = next
  }
  return true
}

/** The part of a key's path that every server reads alike, as `surePath` is of others. */
export function sureKeyPath(path: string): string {
  const first = path.search(structureOfKeys)
  return first === -1 ? path : path.slice(0, path.lastIndexOf('/', first) + 1)
}

/** A key's path as a server reads it that takes for structure whatever it can. */
export function looseKeyPath(path: string): string {
  return path
    .replaceAll('%25', '%')
    .replace(/%(?:2F|5C)/gi, '/')
    .replace(/(?:;|%(?:3B|3F|23))[^/]*/gi, '')
    .replace(/\/{2,}/g, '/')
}

/**
 * A canonical path in the spelling that it is held against rules in: an asterisk as `%2A`, for in a rule a bare one would
 * be taken for a wildcard, which there is none of.
 */
export function ruledPath(path: string): string {
  return path.includes('*') ? path.replaceAll('*', '%2A') : path
}

/** Unreserved letters as themselves, and escapes in capitals. */
function respelled(raw: string): string {
  return raw.replace(/%([0-9A-Fa-f]{2})/g, (escape, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16))
    return unreserved.test(char) ? char : escape.toUpperCase()
  })
}

function isDots(segment: string): boolean {
  return segment === '.' || segment === '..'
}

/** The path with its escapes read; undefined where they are no UTF-8. */
function utf8Of(path: string): string | undefined {
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}

/**
 * Whether a server that folds letters of other scripts to those of ASCII reads a segment of dots: by Unicode's
 * compatibility forms (`\uff0e`, `\u2025`), or as Windows does for programs of one code page (`\u2215`, `\u00a5`).
 */
function mayFoldToDots(read: string): boolean {
  if (!/[^\0-\x7f]/.test(read)) return false
  const slashes = read.normalize('NFKC').replace(/[\u2044\u2215\u29f8\\\u2216\u29f5\u00a5\u20a9]/g, '/')
  return slashes.split('/').some(isDots)
}
