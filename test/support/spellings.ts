/** The ways in which servers are known to write a text back, each by other means than the proxy's own. */
export const spellings: [string, (value: string) => string][] = [
  ['raw', (v) => v],
  ['Bearer', (v) => `Bearer ${v}`],
  ['Basic', (v) => `Basic ${Buffer.from(`user:${v}`).toString('base64')}`],
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
  [
    'html',
    (v) =>
      v.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;'),
  ],
  ['reversed', (v) => Array.from(v).reverse().join('')],
]
