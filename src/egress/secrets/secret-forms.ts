/**
 * The spellings in which an upstream may echo a secret, as bytes to look for, each once: as it is, reversed, JSON-,
 * HTML-, percent- and form-encoded, hex, base64 at each of the three alignments (so also inside a longer text, as
 * Basic has it), UTF-16. A spelling that contains another one stays: the other may be of another secret, or stand in
 * it by chance, and to mask that alone would leave the rest in sight.
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
    for (const keep of [
      /[A-Za-z0-9_.~-]/,
      /[A-Za-z0-9_.!~*'()-]/,
      /[A-Za-z0-9_.*-]/,
      /[^\s%"<>\\^`{|}]/,
      /^$/,
    ]) {
      yield* percentForms(octets, keep)
    }
  }
  const utf16 = Buffer.from(value, 'utf16le')
  yield utf16.toString('latin1')
  yield Buffer.from(utf16).swap16().toString('latin1')
  yield* escapedForms(value)
}

function* percentForms(octets: Buffer, keep: RegExp): Generator<string> {
  const write = (upper: boolean, space: string) =>
    Array.from(octets, (octet) => {
      const char = String.fromCharCode(octet)
      if (octet < 0x80 && keep.test(char)) return char
      if (octet === 0x20) return space
      const hex = octet.toString(16).padStart(2, '0')
      return `%${upper ? hex.toUpperCase() : hex}`
    }).join('')
  for (const space of ['%20', '+']) {
    yield write(true, space)
    yield write(false, space)
  }
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
    yield inner
    yield inner.replaceAll('+', '-').replaceAll('/', '_')
  }
}

function* escapedForms(value: string): Generator<string> {
  const json = JSON.stringify(value).slice(1, -1)
  yield Buffer.from(json, 'utf8').toString('latin1')
  yield Buffer.from(json.replaceAll('/', '\\/'), 'utf8').toString('latin1')
  const unicode = (char: string, upper: boolean) => {
    const hex = char.charCodeAt(0).toString(16).padStart(4, '0')
    return `\\u${upper ? hex.toUpperCase() : hex}`
  }
  // Everything, everything that is no letter or digit, what HTML-safe serialisers escape, what is not ASCII.
  for (const escape of [/[\s\S]/, /[^A-Za-z0-9]/, /[<>&'"]/, /[<>&'"+/=]/, /[^\x20-\x7e]/]) {
    for (const upper of [true, false]) {
      yield Array.from(value, (char) => {
        if (escape.test(char)) return unicode(char, upper)
        return char === '"' || char === '\\' ? `\\${char}` : char
      }).join('')
    }
  }
  const html: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  for (const apostrophe of ["'", '&#39;', '&#x27;', '&apos;']) {
    for (const quote of ['&quot;', '&#34;']) {
      const names = { ...html, '"': quote, "'": apostrophe }
      const text = value.replace(/[&<>"']/g, (char) => names[char as keyof typeof names] ?? char)
      yield Buffer.from(text, 'utf8').toString('latin1')
      yield text
    }
  }
}
