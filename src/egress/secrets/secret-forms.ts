import type { Form } from './form-table.ts'

/**
 * What is made of a secret as a whole, as bytes to look for, each once: as it is, reversed, in hex, in base64 at each
 * of the three alignments (so also inside a longer text, as Basic has it), in UTF-8 and UTF-16. How its characters,
 * and those of these, are written is another matter (`writings.ts`). A form that contains another one stays: the other
 * may be of another secret, or stand in it by chance, and to mask that alone would leave the rest in sight.
 */
export function secretForms(values: readonly string[]): Form[] {
  const forms = new Map<string, Form>()
  for (const value of values)
    for (const form of formsOf(value)) {
      const key = form.bytes.toString('latin1')
      if (key === '') continue
      const same = forms.get(key) ?? form
      const each = Math.max(same.each, form.each)
      forms.set(key, { bytes: form.bytes, lines: same.lines || form.lines, each })
    }
  return [...forms.values()]
}

function* formsOf(value: string): Generator<Form> {
  const reversed = Array.from(value).reverse().join('')
  for (const charset of charsets) {
    const octets = Buffer.from(value, charset)
    yield whole(octets)
    yield whole(Buffer.from(reversed, charset))
    yield whole(Buffer.from(octets.toString('hex')), 2)
    yield whole(Buffer.from(octets.toString('hex').toUpperCase()), 2)
    yield* base64Forms(octets)
  }
  const utf16 = Buffer.from(value, 'utf16le')
  yield whole(utf16)
  yield whole(Buffer.from(utf16).swap16())
}

/** In what it may have been sent, and what an upstream that took it for Latin-1 answers with. */
const charsets = ['latin1', 'utf8'] as const

function whole(bytes: Buffer, each = 1): Form {
  return { bytes, lines: false, each }
}

/** Only letters that the secret's own bits decide, whatever stands before and after it. */
function* base64Forms(octets: Buffer): Generator<Form> {
  for (const shift of [0, 1, 2]) {
    const shifted = Buffer.concat([Buffer.alloc(shift), octets])
    const end = Math.floor((shifted.length * 8) / 6)
    for (const alphabet of ['base64', 'base64url'] as const) {
      const letters = shifted.toString(alphabet).slice(Math.ceil((shift * 8) / 6), end)
      // Two or three would mask half of any page, and give away no secret.
      if (letters.length >= 4)
        yield { bytes: Buffer.from(letters), lines: letters.length >= fewestInLines, each: 4 / 3 }
    }
  }
}

/** Shorter ones stand in innocent texts. */
const fewestInLines = 16
