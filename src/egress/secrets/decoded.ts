import { isUtf8 } from 'node:buffer'

/** The text with its percent escapes read as UTF-8, as `decodeURIComponent` does; as it stands where they are broken. */
export function decoded(text: string): string {
  return unescaped(text) ?? text
}

/** The same of a form, where `+` is a space. */
export function formDecoded(text: string): string {
  return unescaped(text, '+') ?? text
}

/** Each octet as a character: enough to find ASCII in. A broken escape stands for itself. */
export function octetText(text: string): string {
  return text.includes('%') ? octetsOf(text).octets.toString('latin1') : text
}

/** The same of a JSON text, with the escapes of its strings read: those that stand for no ASCII letter all as one. */
export function jsonOctetText(text: string): string {
  if (!text.includes('\\')) return text
  const octets = Buffer.from(text)
  let end = 0
  for (let at = 0; at < octets.length; at += 1) {
    let octet = octets[at] ?? 0
    if (octet === 0x5c) {
      at += 1
      let code = 0
      if (octets[at] === 0x75) {
        for (let i = 1; i <= 4; i += 1) code = code * 16 + (digits[octets[at + i] ?? 0] ?? 0)
        at += 4
      }
      octet = code < 0x80 ? code : 0
    }
    octets[end] = octet
    end += 1
  }
  return octets.subarray(0, end).toString('latin1')
}

/** Undefined where escapes are broken; `space` is what stands for one. */
function unescaped(text: string, space?: '+'): string | undefined {
  if (!text.includes('%') && (space === undefined || !text.includes(space))) return text
  const { octets, broken } = octetsOf(text, space?.charCodeAt(0))
  return broken || !isUtf8(octets) ? undefined : octets.toString('utf8')
}

/**
 * The UTF-8 of a text with its escapes read, in one pass and without making anything of each: a body has room for half
 * a million, broken or not, and nobody else is served until they are read.
 */
function octetsOf(text: string, space = 0x20): { octets: Buffer; broken: boolean } {
  const octets = Buffer.from(text)
  let broken = false
  let end = 0
  for (let at = 0; at < octets.length; at += 1) {
    let octet = octets[at] ?? 0
    if (octet === 0x25) {
      const high = digits[octets[at + 1] ?? 0] ?? -1
      const low = digits[octets[at + 2] ?? 0] ?? -1
      if (high === -1 || low === -1) broken = true
      else {
        octet = high * 16 + low
        at += 2
      }
    } else if (octet === space) octet = 0x20
    octets[end] = octet
    end += 1
  }
  return { octets: octets.subarray(0, end), broken }
}

/** The value of each hexadecimal digit by its code, and -1 of everything else. */
const digits = Int8Array.from({ length: 256 }, (_, code) => {
  const char = String.fromCharCode(code)
  return /[0-9A-Fa-f]/.test(char) ? Number.parseInt(char, 16) : -1
})
