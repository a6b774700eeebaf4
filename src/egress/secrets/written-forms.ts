/**
 * How programs write a text into JSON, HTML and addresses, each as one of them is known to, and the usual two of them
 * one in the other. What such a program leaves as it is comes out as it went in, so most of these are one and the
 * same for a text of letters and digits. Characters stand for themselves; how they become bytes is for the caller.
 */
export function* writtenForms(text: string): Generator<string> {
  const json = inJson(text)
  yield* jsonForms(text)
  yield* htmlForms(text)
  // JSON as a string inside of JSON, as logs have it; with slashes escaped both times, by PHP.
  yield inJson(json)
  yield inJson(slashed(json)).replaceAll('/', '\\/')
  // JSON in an attribute of HTML.
  yield inHtml(json, {})
}

/** Base64 has no more than two letters that anything escapes, and is never written in two cases at once. */
export function* writtenBase64(text: string): Generator<string> {
  yield text
  if (!/[+/]/.test(text)) return
  yield text.replaceAll('+', '-').replaceAll('/', '_')
  yield slashed(text)
  yield text.replaceAll('+', '%2B').replaceAll('/', '%2F')
  yield text.replaceAll('+', '%2b').replaceAll('/', '%2f')
  yield text.replaceAll('+', '\\u002B')
  for (const more of [{ '/': '&#x2F;' }, { '+': '&#x2B;' }, { '+': '&#43;' }]) yield inHtml(text, more)
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
  const unicode = (char: string, upper: boolean) => {
    const hex = char.charCodeAt(0).toString(16).padStart(4, '0')
    return `\\u${upper ? hex.toUpperCase() : hex}`
  }
  // Everything, everything that is no letter or digit, what HTML-safe serialisers escape, what is not ASCII.
  for (const escape of [/[\s\S]/, /[^A-Za-z0-9]/, /[<>&'"]/, /[<>&'"`+]/, /[<>&'"+/=]/, /[^\x20-\x7e]/]) {
    for (const upper of [true, false]) {
      yield Array.from(text, (char) => {
        if (escape.test(char)) return unicode(char, upper)
        return char === '"' || char === '\\' ? `\\${char}` : char
      }).join('')
    }
  }
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
}

function inHtml(text: string, more: Readonly<Record<string, string>>): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', ...more }
  return text.replace(/[&<>"'`=+/]/g, (char) => names[char] ?? char)
}
