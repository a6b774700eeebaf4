/**
 * A server that holds a request against AWS Signature Version 4 as Amazon describes it to servers: it takes the list of
 * signed headers from the request and rebuilds everything from what arrived. Written apart from the code that signs.
 */
import { createHash, createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

const hex = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
/** What arrived: Node reads each byte of a header as one character. */
const bytes = (text: string) => Buffer.from(text, 'latin1')

/** Why the signature is not good; undefined when it is. */
export function whyNotSigned(
  req: IncomingMessage,
  body: Buffer,
  keys: { id: string; secret: string; token?: string },
): string | undefined {
  const given = req.headersDistinct['authorization'] ?? []
  if (given.length !== 1) return `${given.length} authorizations`
  const parts =
    /^AWS4-HMAC-SHA256 Credential=(.+?)\/(\d{8})\/(.+?)\/(.+?)\/aws4_request, ?SignedHeaders=(.+?), ?Signature=([0-9a-f]{64})$/.exec(
      given[0] ?? '',
    )
  if (parts === null) return `malformed: ${given[0]}`
  const [, id, day = '', region = '', service = '', names = '', signature] = parts
  if (id !== keys.id) return `signed by ${id}`
  const date = String(req.headers['x-amz-date'])
  if (!date.startsWith(day) || Math.abs(Date.parse(iso(date)) - Date.now()) > 5 * 60_000)
    return `dated ${date}`
  if (keys.token !== undefined && req.headers['x-amz-security-token'] !== keys.token)
    return 'wrong session token'
  const listed = names.split(';')
  for (const needed of ['host', ...Object.keys(req.headers).filter((name) => name.startsWith('x-amz-'))])
    if (!listed.includes(needed)) return `${needed} is not signed`
  const stated = req.headers['x-amz-content-sha256']
  const actual = hex(body)
  const payload = typeof stated === 'string' ? stated : actual
  if (/^[0-9a-f]{64}$/.test(payload) && payload !== actual) return 'the body is another one'
  const url = new URL(req.url ?? '', 'https://host')
  const query = [...url.searchParams]
    .map(([name, value]) => [strict(name), strict(value)])
    .sort(([a = '', x = ''], [b = '', y = '']) => (a === b ? (x < y ? -1 : 1) : a < b ? -1 : 1))
    .map((pair) => pair.join('='))
    .join('&')
  const path =
    service === 's3' || service === 's3express' ? url.pathname : url.pathname.split('/').map(strict).join('/')
  const headers = listed.map(
    (name) =>
      `${name}:${(req.headersDistinct[name] ?? []).map((v) => v.replaceAll(/^[ \t]+|[ \t]+$/g, '').replaceAll(/ +/g, ' ')).join(',')}\n`,
  )
  const canonical = [req.method, path, query, headers.join(''), names, payload].join('\n')
  const toSign = `AWS4-HMAC-SHA256\n${date}\n${day}/${region}/${service}/aws4_request\n${hex(bytes(canonical))}`
  const key = [day, region, service, 'aws4_request'].reduce<string | Buffer>(
    (under, part) => createHmac('sha256', under).update(part).digest(),
    `AWS4${keys.secret}`,
  )
  return createHmac('sha256', key).update(toSign).digest('hex') === signature
    ? undefined
    : `not over ${canonical}`
}

function strict(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function iso(date: string): string {
  return date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z')
}
