import { base64Forms } from './base64-forms.ts'
import { inComponent, percentForms } from './percent-forms.ts'
import { inJson, writtenForms } from './written-forms.ts'

/**
 * The spellings in which an upstream may echo a secret, as bytes to look for, each once: as it is, reversed, in JSON,
 * JavaScript and HTML, percent- and form-encoded, hex, base64 at each of the three alignments (so also inside a
 * longer text, as Basic has it) and that written into the others, UTF-16. A spelling that contains another one stays:
 * the other may be of another secret, or stand in it by chance, and to mask that alone would leave the rest in sight.
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
    yield* percentForms(octets.toString('latin1'))
  }
  yield inComponent(Buffer.from(inJson(value), 'utf8').toString('latin1'))
  const utf16 = Buffer.from(value, 'utf16le')
  yield utf16.toString('latin1')
  yield Buffer.from(utf16).swap16().toString('latin1')
  for (const form of writtenForms(value)) {
    yield Buffer.from(form, 'utf8').toString('latin1')
    yield form
  }
}
