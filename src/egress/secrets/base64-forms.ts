/** What `+` and `/` become, the only letters of base64 that anything escapes. */
const signsOfBase64: readonly (readonly [plus: string, slash: string])[] = [
  ['-', '_'],
  ['+', '\\/'],
  // By encoders that know both, or leave one of them; once, and twice.
  ...['%2', '%252'].flatMap((two): [string, string][] => [
    [`${two}B`, `${two}F`],
    [`${two}b`, `${two}f`],
    [`${two}B`, '/'],
    [`${two}b`, '/'],
    ['+', `${two}F`],
    ['+', `${two}f`],
  ]),
  // First by one that leaves the other, then by one that does not.
  ['%252B', '%2F'],
  ['%2B', '%252F'],
  // JSON and JavaScript: .NET and Go, what escapes every sign.
  ['\\u002B', '/'],
  ['\\u002b', '/'],
  ['\\u002B', '\\/'],
  ['\\u002b', '\\/'],
  ['\\u002B', '\\u002F'],
  ['\\u002b', '\\u002f'],
  ['\\x2B', '\\x2F'],
  ['\\x2b', '\\x2f'],
  // HTML: Mustache, .NET, Go, what escapes every sign, OWASP's encoder.
  ['+', '&#x2F;'],
  ['&#x2B;', '/'],
  ['&#43;', '/'],
  ['&#x2B;', '&#x2F;'],
  ['&#x2b;', '&#x2f;'],
  ['&#43;', '&#47;'],
  ['+', '&#47;'],
]

/** Bytes in base64 at each of the three alignments, as it is and as programs write it into other things. */
export function* base64Forms(octets: Buffer): Generator<string> {
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

function* writtenBase64(text: string): Generator<string> {
  yield text
  if (!/[+/]/.test(text)) return
  for (const [plus, slash] of signsOfBase64)
    yield text.replace(/[+/]/g, (sign) => (sign === '+' ? plus : slash))
}
