const html = (v: string, more: Record<string, string> = {}) => {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', ...more }
  return Array.from(v, (c) => names[c] ?? c).join('')
}
const basic = (v: string) => `Basic ${Buffer.from(`user:${v}`).toString('base64')}`

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
  ['reversed', (v) => Array.from(v).reverse().join('')],
]
