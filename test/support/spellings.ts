const html = (v: string, more: Record<string, string> = {}) => {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', ...more }
  return Array.from(v, (c) => names[c] ?? c).join('')
}
const basic = (v: string) => `Basic ${Buffer.from(`user:${v}`).toString('base64')}`

/** All signs but these, percent-encoded; `twice` also the percent signs of that. */
const quote = (v: string, kept: string, twice = false) => {
  const once = Array.from(v, (c) =>
    /[A-Za-z0-9]/.test(c) || kept.includes(c) ? c : `%${Buffer.from(c).toString('hex').toUpperCase()}`,
  ).join('')
  return twice ? once.replaceAll('%', '%25') : once
}
/** All signs but these in a string of JavaScript, or those of a table as it says. */
const js = (v: string, kept: string, before: string, digits: number, own: Record<string, string> = {}) =>
  Array.from(v, (c) => {
    if (own[c] !== undefined || /[A-Za-z0-9]/.test(c) || kept.includes(c)) return own[c] ?? c
    return before + c.charCodeAt(0).toString(16).toUpperCase().padStart(digits, '0')
  }).join('')
const references = (v: string, write: (code: number) => string) =>
  Array.from(v, (c) =>
    /[A-Za-z0-9,._-]/.test(c) ? c : html(c) === c ? write(c.charCodeAt(0)) : html(c),
  ).join('')
const userinfo = (v: string) => {
  const address = new URL('http://host')
  address.username = v
  return address.username
}
const base64 = (v: string) => Buffer.from(v).toString('base64')
const unreserved = '_.~-'

/** The ways in which servers are known to write a text back, each by other means than the proxy's own. */
export const spellings: [string, (value: string) => string][] = [
  ['raw', (v) => v],
  ['Bearer', (v) => `Bearer ${v}`],
  ['Basic', basic],
  ['base64', (v) => Buffer.from(v).toString('base64')],
  ['base64 shifted by one', (v) => Buffer.from(`x${v}yz`).toString('base64')],
  ['base64 shifted by two', (v) => Buffer.from(`xx${v}`).toString('base64')],
  ['base64url', (v) => Buffer.from(v).toString('base64url')],
  ['hex', (v) => Buffer.from(v).toString('hex')],
  ['HEX', (v) => Buffer.from(v).toString('hex').toUpperCase()],
  ['percent', (v) => encodeURIComponent(v)],
  ['percent, all', (v) => Buffer.from(v).toString('hex').replace(/../g, '%$&')],
  ['form', (v) => new URLSearchParams({ v }).toString()],
  ['json', (v) => JSON.stringify({ v })],
  ['json with escaped slashes', (v) => JSON.stringify({ v }).replaceAll('/', '\\/')],
  [
    'json, all escaped',
    (v) => Array.from(v, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  ],
  ['html', (v) => html(v)],
  ['html of PHP', (v) => html(v, { "'": '&#039;' })],
  ['html of Handlebars', (v) => html(v, { "'": '&#x27;', '`': '&#x60;', '=': '&#x3D;' })],
  ['html of Mustache', (v) => html(v, { "'": '&#39;', '`': '&#x60;', '=': '&#x3D;', '/': '&#x2F;' })],
  ['html of .NET', (v) => html(v, { "'": '&#x27;', '`': '&#x60;', '+': '&#x2B;' })],
  ['html of Go', (v) => html(v, { "'": '&#39;', '"': '&#34;', '+': '&#43;' })],
  ['Basic in json', (v) => JSON.stringify({ v: basic(v) })],
  ['Basic in json with escaped slashes', (v) => JSON.stringify({ v: basic(v) }).replaceAll('/', '\\/')],
  ['Basic in json of .NET', (v) => JSON.stringify({ v: basic(v) }).replaceAll('+', '\\u002B')],
  ['Basic, percent', (v) => encodeURIComponent(basic(v))],
  ['Basic, form', (v) => new URLSearchParams({ v: basic(v) }).toString()],
  ['Basic, html of Mustache', (v) => html(basic(v), { '/': '&#x2F;', '=': '&#x3D;' })],
  ['Basic, html of Handlebars', (v) => html(basic(v), { '=': '&#x3D;' })],
  ['Basic, html of .NET', (v) => html(basic(v), { '+': '&#x2B;' })],
  ['base64 in lines of 76', (v) => Buffer.from(v).toString('base64').replace(/.{76}/g, '$&\r\n')],
  ['base64 in lines of 64', (v) => Buffer.from(v).toString('base64').replace(/.{64}/g, '$&\n')],
  ['json in json', (v) => JSON.stringify({ body: JSON.stringify({ v }) })],
  ['json in html', (v) => html(JSON.stringify({ v }))],
  ['json, percent', (v) => encodeURIComponent(JSON.stringify({ v }))],
  ['percent twice', (v) => encodeURIComponent(`/next?k=${encodeURIComponent(v)}`)],
  ['percent of Python', (v) => quote(v, `${unreserved}/`)],
  ['percent of Python, twice', (v) => quote(v, `${unreserved}/`, true)],
  ['percent of Python in a component', (v) => encodeURIComponent(quote(v, `${unreserved}/`))],
  [
    'percent of Python, in small letters',
    (v) => quote(v, `${unreserved}/`).replace(/%../g, (c) => c.toLowerCase()),
  ],
  ['percent of Django', (v) => quote(v, "/:@&+$,-_.!~*'()")],
  ['percent of Django, twice', (v) => quote(v, "/:@&+$,-_.!~*'()", true)],
  ['percent of escape()', (v) => quote(v, '@*_+-./')],
  ['percent of Go’s PathEscape', (v) => quote(v, `${unreserved}$&+:=@`)],
  ['percent of Go’s PathEscape, twice', (v) => quote(v, `${unreserved}$&+:=@`, true)],
  ['percent of Go’s path', (v) => quote(v, `${unreserved}$&+,/:;=@`)],
  ['percent of Go’s userinfo', (v) => quote(v, `${unreserved}$&+,;=`)],
  ['percent of userinfo', userinfo],
  ['percent of userinfo, twice', (v) => userinfo(v).replaceAll('%', '%25')],
  ['percent of all signs', (v) => quote(v, '')],
  ['percent of all signs, twice', (v) => quote(v, '', true)],
  [
    'js of Go’s templates',
    (v) => v.replace(/[\\/]/g, '\\$&').replace(/["`&'+<>]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`),
  ],
  [
    'js of Go',
    (v) =>
      v
        .replace(/[\\'"]/g, '\\$&')
        .replace(/[<>&=]/g, (c) => `\\u00${html(c) === c ? '3D' : js(c, '', '', 2)}`),
  ],
  ['js of Django', (v) => v.replace(/[\\'"<>&=\-;`]/g, (c) => js(c, '', '\\u', 4))],
  ['js of Twig', (v) => js(v, ',._', '\\u', 4, { '\\': '\\\\', '/': '\\/' })],
  ['js of Laminas and ESAPI', (v) => js(v, ',._', '\\x', 2)],
  [
    'json of Gson',
    (v) => JSON.stringify({ v }).replace(/[<>&='](?!$)/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`),
  ],
  [
    'html of Go, without quotes',
    (v) => html(v, { "'": '&#39;', '"': '&#34;', '+': '&#43;', '=': '&#61;', '`': '&#96;', ' ': '&#32;' }),
  ],
  ['attribute of Twig and Laminas', (v) => references(v, (code) => `&#x${code.toString(16).toUpperCase()};`)],
  ['attribute of ESAPI', (v) => references(v, (code) => `&#x${code.toString(16)};`)],
  ['attribute of AntiXSS', (v) => references(v, (code) => `&#${code};`)],
  ['base64, percent of Python', (v) => quote(base64(v), '/').replace(/(%3D)+$/, '')],
  ['base64, percent of Python, twice', (v) => quote(base64(v), '/', true).replace(/(%253D)+$/, '')],
  ['base64, percent of PathEscape', (v) => quote(base64(v), '+=')],
  ['base64, js of Go’s templates', (v) => base64(v).replaceAll('/', '\\/').replaceAll('+', '\\u002b')],
  ['base64, js of ESAPI', (v) => js(base64(v).replace(/=+$/, ''), '', '\\x', 2)],
  [
    'base64, attribute of Twig',
    (v) => references(base64(v), (code) => `&#x${code.toString(16).toUpperCase()};`),
  ],
  ['reversed', (v) => Array.from(v).reverse().join('')],
]
