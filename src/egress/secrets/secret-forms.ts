import { inJson, writtenBase64, writtenForms } from './written-forms.ts'

/**
 * The spellings in which an upstream may echo a secret, as bytes to look for, each once: as it is, reversed, JSON-,
 * HTML-, percent- and form-encoded, hex, base64 at each of the three alignments (so also inside a longer text, as
 * Basic has it) and that written into the others, UTF-16. A spelling that contains another one stays: the other may
 * be of another secret, or stand in it by chance, and to mask that alone would leave the rest in sight.
 */
export function secretForms(values: readonly string[]): Buffer[] {
  const forms = new Set<string>()
  for (const value of values) for (const form of formsOf(value)) forms.add(form)
  forms.delete('')
  return Array.from(forms, (form) => Buffer.from(form, 'latin1'))
}

/** All spellings as Latin-1 texts, one character a byte. */
function* formsOf(value: string): Generator<string> {
  yield value
  yield Array.from(value).reverse().join('')
  // What a Latin-1 header value becomes when an upstream treats it as text and answers in UTF-8.
  const utf8 = Buffer.from(value, 'utf8')
  yield utf8.toString('latin1')
  const bytes = Buffer.from(value, 'latin1')
  for (const octets of utf8.equals(bytes) ? [bytes] : [bytes, utf8]) {
    yield octets.toString('hex')
    yield octets.toString('hex').toUpperCase()
    yield* base64Forms(octets)
    for (const keep of [component, /[A-Za-z0-9_.~-]/, /[A-Za-z0-9_.*-]/, /[^\s%"<>\\^`{|}]/, /^$/])
      for (const space of ['%20', '+'])
        for (const upper of [true, false]) yield percentForm(octets, keep, space, upper)
    // An address inside an address, as a redirect has it.
    yield percentForm(octets, component, '%20', true).replaceAll('%', '%25')
  }
  yield percentForm(Buffer.from(inJson(value)), component, '%20', true)
  const utf16 = Buffer.from(value, 'utf16le')
  yield utf16.toString('latin1')
  yield Buffer.from(utf16).swap16().toString('latin1')
  for (const form of writtenForms(value)) {
    yield Buffer.from(form, 'utf8').toString('latin1')
    yield form
  }
}

/** What `encodeURIComponent` leaves as it is. */
const component = /[A-Za-z0-9_.!~*'()-]/

function percentForm(octets: Buffer, keep: RegExp, space: string, upper: boolean): string {
  return Array.from(octets, (octet) => {
    const char = String.fromCharCode(octet)
    if (octet < 0x80 && keep.test(char)) return char
    if (octet === 0x20) return space
    const hex = octet.toString(16).padStart(2, '0')
    return `%${upper ? hex.toUpperCase() : hex}`
  }).join('')
}

function* base64Forms(octets: Buffer): Generator<string> {
  for (const shift of [0, 1, 2]) {
    // Only letters that the secret's own bits decide, whatever stands before and after it.
    const text = Buffer.concat([Buffer.alloc(shift), octets])
      .toString('base64')
      .replace(/=+$/, '')
    const start = Math.ceil((shift * 8) / 6)
    const end = Math.floor(((shift + octets.length) * 8) / 6)
    const inner = text.slice(start, end)
    // Two or three letters would mask half of any page, and give away no secret.
    if (inner.length < 4) continue
    yield* writtenBase64(inner)
    if (shift === 0) yield* inLines(inner)
  }
}

/** In lines of 76 letters (MIME) or 64 (PEM), where the secret stands first in what is encoded. */
function* inLines(base64: string): Generator<string> {
  for (const length of [76, 64])
    for (const end of ['\n', '\r\n']) yield base64.replace(new RegExp(`.{${length}}(?=.)`, 'g'), `$&${end}`)
}
