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
  if (!isUtf8(raw)) return { ok: false, reason: 'path_ambiguous' }
  const path = raw.replace(/%([0-9A-Fa-f]{2})/g, (escape, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16))
    return unreserved.test(char) ? char : escape.toUpperCase()
  })
  if (path.split('/').some((segment) => segment === '.' || segment === '..')) {
    return { ok: false, reason: 'path_ambiguous' }
  }
  return { ok: true, path, query }
}

/**
 * A canonical path in the spelling that it is held against rules in: an asterisk as `%2A`, for in a rule a bare one would
 * be taken for a wildcard, which there is none of.
 */
export function ruledPath(path: string): string {
  return path.includes('*') ? path.replaceAll('*', '%2A') : path
}

function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}
