/**
 * How programs write a text into JSON, JavaScript and HTML, each as one of them is known to, and the usual two of them
 * one in the other. What such a program leaves as it is comes out as it went in, so most of these are one and the
 * same for a text of letters and digits. Characters stand for themselves; how they become bytes is for the caller.
 */
export function* writtenForms(text: string): Generator<string> {
  const json = inJson(text)
  yield* jsonForms(text)
  yield* scriptForms(text)
  yield* htmlForms(text)
  // JSON as a string inside of JSON, as logs have it; with slashes escaped both times, by PHP.
  yield inJson(json)
  yield inJson(slashed(json)).replaceAll('/', '\\/')
  // JSON in an attribute of HTML.
  yield inHtml(json, {})
}

export function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}

function slashed(text: string): string {
  return text.replaceAll('/', '\\/')
}

function* jsonForms(text: string): Generator<string> {
  yield inJson(text)
  yield slashed(inJson(text))
  // Everything, everything that is no letter or digit, what HTML-safe serialisers escape (first Go's; Gson's
  // the `=` too and .NET's the `+`), what is not ASCII.
  for (const escape of [
    /[^]/,
    /[^A-Za-z0-9]/,
    /[<>&]/,
    /[<>&'"]/,
    /[<>&'=]/,
    /[<>&'"`+]/,
    /[<>&'"+/=]/,
    /[^\x20-\x7e]/,
  ]) {
    for (const write of [unicode, lower(unicode)]) {
      yield Array.from(text, (char) => {
        if (escape.test(char)) return write(char)
        return char === '"' || char === '\\' ? `\\${char}` : char
      }).join('')
    }
  }
}

/** In a string of JavaScript. */
function* scriptForms(text: string): Generator<string> {
  const slashes = { '\\': '\\\\', '/': '\\/' }
  // Go's templates: in quotes, in backquotes; Go's JSEscapeString, Django's escapejs.
  yield escaped(text, /["&'+/<>\\`]/g, lower(unicode), slashes)
  yield escaped(text, /["$&'+/<>\\`{}]/g, lower(unicode), slashes)
  yield escaped(text, /["&'<=>\\]/g, unicode, { '\\': '\\\\', "'": "\\'", '"': '\\"' })
  yield escaped(text, /["&'<=>\\;`-]/g, unicode)
  // All but letters, digits and a few: Twig; Twig's first, Laminas and ESAPI.
  const most = /[^A-Za-z0-9,._]/g
  yield escaped(text, most, unicode, slashes)
  for (const write of [inHex, lower(inHex)]) yield escaped(text, most, write)
}

function* htmlForms(text: string): Generator<string> {
  for (const apostrophe of ["'", '&#39;', '&#039;', '&#x27;', '&apos;'])
    yield inHtml(text, { "'": apostrophe })
  // In turn: Handlebars, Mustache, the advice of OWASP, .NET, Go and MarkupSafe, Go's templates.
  yield inHtml(text, { "'": '&#x27;', '`': '&#x60;', '=': '&#x3D;' })
  yield inHtml(text, { "'": '&#39;', '`': '&#x60;', '=': '&#x3D;', '/': '&#x2F;' })
  yield inHtml(text, { "'": '&#x27;', '/': '&#x2F;' })
  yield inHtml(text, { "'": '&#x27;', '`': '&#x60;', '+': '&#x2B;' })
  yield inHtml(text, { '"': '&#34;', "'": '&#39;' })
  yield inHtml(text, { '"': '&#34;', "'": '&#39;', '+': '&#43;' })
  // Attributes without quotes: Go's templates, OWASP's encoder for Java.
  const unquoted = { '"': '&#34;', "'": '&#39;', '`': '&#96;', '=': '&#61;', ' ': '&#32;' }
  yield inHtml(text, { ...unquoted, '+': '&#43;' })
  yield inHtml(text, { ...unquoted, '/': '&#47;' })
  // All but letters, digits and a few, in attributes: Twig and Laminas, ESAPI, AntiXSS; ESAPI elsewhere.
  const most = /[^A-Za-z0-9,._-]/g
  for (const write of [inReference, lower(inReference), inDecimal]) yield escaped(text, most, write, named)
  yield escaped(text, /[^A-Za-z0-9,._ -]/g, lower(inReference), named)
}

const named: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

function inHtml(text: string, more: Readonly<Record<string, string>>): string {
  return escaped(text, /[&<>"'`=+/ ]/g, (char) => char, { ...named, ...more })
}

type Write = (char: string) => string

/** `text` with what `escape` finds written by `write`, or as `own` has it. */
function escaped(
  text: string,
  escape: RegExp,
  write: Write,
  own: Readonly<Record<string, string>> = {},
): string {
  return text.replace(escape, (char) => own[char] ?? write(char))
}

const hex = (char: string, digits: number) =>
  char.charCodeAt(0).toString(16).toUpperCase().padStart(digits, '0')
const unicode: Write = (char) => `\\u${hex(char, 4)}`
const inHex: Write = (char) => `\\x${hex(char, 2)}`
const inReference: Write = (char) => `&#x${hex(char, 2)};`
const inDecimal: Write = (char) => `&#${char.charCodeAt(0)};`

/** The same with small letters among its digits. */
function lower(write: Write): Write {
  return (char) => write(char).toLowerCase()
}
