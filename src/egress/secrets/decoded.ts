import { isUtf8 } from 'node:buffer'

/** The text with its percent escapes read as UTF-8, as `decodeURIComponent` does; as it stands where they are broken. */
export function decoded(text: string): string {
  return unescaped(text) ?? text
}

/** The same of a form, where `+` is a space. */
export function formDecoded(text: string): string {
  return unescaped(text.replaceAll('+', ' ')) ?? text
}

/**
 * Undefined where escapes are broken. Not by catching what `decodeURIComponent` throws: a body has room for half a
 * million broken ones, and making so many errors takes seconds in which nobody is served.
 */
function unescaped(text: string): string | undefined {
  if (!text.includes('%')) return text
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined
  let broken = false
  const read = text.replace(/(?:%[0-9A-Fa-f]{2})+/g, (escapes) => {
    const bytes = Buffer.from(escapes.replaceAll('%', ''), 'hex')
    broken ||= !isUtf8(bytes)
    return bytes.toString('utf8')
  })
  return broken ? undefined : read
}
