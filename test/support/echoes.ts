import { theSecret } from './egress-world.ts'

const secretBytes = Buffer.from(theSecret)
/** In how many ways an upstream shows the credential it was given: nobody in the sandbox sees it. */
export const echoes: [string, string][] = [
  ['as it is', theSecret],
  ['as Bearer', `Bearer ${theSecret}`],
  ['as Basic', `Basic ${Buffer.from(`user:${theSecret}`).toString('base64')}`],
  ['reversed', Array.from(theSecret).reverse().join('')],
  ['in base64', secretBytes.toString('base64')],
  ['in base64 inside a longer text', Buffer.from(`user:${theSecret}!`).toString('base64')],
  ['in base64url', Buffer.from(`ab${theSecret}`).toString('base64url')],
  ['in hex', secretBytes.toString('hex')],
  ['percent-encoded', encodeURIComponent(theSecret)],
  ['as a form', new URLSearchParams({ k: theSecret }).toString().slice(2)],
  ['in JSON', JSON.stringify(theSecret).slice(1, -1)],
  ['in HTML', theSecret.replaceAll('&', '&amp;').replaceAll('"', '&quot;')],
  [
    'in HTML of Handlebars',
    theSecret.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('=', '&#x3D;'),
  ],
  ['in JSON in JSON', JSON.stringify(JSON.stringify(theSecret)).slice(1, -1)],
  ['percent-encoded twice', encodeURIComponent(encodeURIComponent(theSecret))],
  [
    'in HTML by the names of HTML5',
    each({ '+': '&plus;', '/': '&sol;', '=': '&equals;', '"': '&quot;', '&': '&amp;' }),
  ],
  ['in HTML by decimal numbers', Array.from(theSecret, (char) => `&#${char.charCodeAt(0)};`).join('')],
  ['in HTML by numbers', Array.from(theSecret, (char) => `&#x${char.charCodeAt(0).toString(16)};`).join('')],
  ['with slashes added', theSecret.replace(/["'\\]/g, '\\$&')],
  ['in CSV', `"${theSecret.replaceAll('"', '""')}"`],
  ['quoted-printable', theSecret.replaceAll('=', '=3D')],
  ['in JSON of Laravel', each({ '/': '\\/', '"': '\\u0022', '&': '\\u0026', '\\': '\\\\' })],
  ['in JSON of Jinja', each({ '"': '\\"', '&': '\\u0026', "'": '\\u0027', '\\': '\\\\' })],
  ['in octal', Array.from(theSecret, (char) => `\\${char.charCodeAt(0).toString(8)}`).join('')],
]

/** With these characters written so. */
function each(written: Readonly<Record<string, string>>): string {
  return Array.from(theSecret, (char) => written[char] ?? char).join('')
}
