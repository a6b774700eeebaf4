/**
 * HTTP/1.1 as RFC 9112 writes it and no other way, to hold Node's parser against: what a strict server would make of
 * the same bytes.
 */
export interface StrictRequest {
  method: string
  target: string
  version: string
  /** Names and values alternating. */
  headers: string[]
}

/** Every request up to the first byte that is not as it must be. */
export function readStrictly(bytes: string): StrictRequest[] {
  const requests: StrictRequest[] = []
  let at = 0
  for (;;) {
    // Empty lines before a request are none (RFC 9112 section 2.2), by whatever byte they end.
    while (bytes[at] === '\r' || bytes[at] === '\n') at += 1
    const end = bytes.indexOf('\r\n\r\n', at)
    const request = end === -1 ? undefined : readHead(bytes.slice(at, end))
    if (request === undefined) return requests
    requests.push(request)
    const next = bodyEnd(bytes, end + 4, request)
    if (next === undefined) return requests
    at = next
  }
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
// More than one space may be read as one (RFC 9112 section 3); it goes out as one.
const requestLine = new RegExp(`^(${token}) +([\\x21-\\x7e\\x80-\\xff]+) +HTTP/(1\\.[01])$`)
const field = new RegExp(`^(${token}):[ \\t]*([\\t\\x20-\\x7e\\x80-\\xff]*?)[ \\t]*$`)

function readHead(text: string): StrictRequest | undefined {
  const [first = '', ...lines] = text.split('\r\n')
  const start = requestLine.exec(first)
  if (start === null) return undefined
  const headers: string[] = []
  for (const line of lines) {
    const match = field.exec(line)
    if (match === null) return undefined
    headers.push(match[1] ?? '', match[2] ?? '')
  }
  const [, method = '', target = '', version = ''] = start
  return { method, target, version, headers }
}

/** Where the next request begins; undefined when the body is not whole, or cannot be told from what follows. */
function bodyEnd(bytes: string, from: number, { method, headers }: StrictRequest): number | undefined {
  const values = (name: string) =>
    headers.filter((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === name)
  const [codings, lengths] = [values('transfer-encoding'), values('content-length')]
  if (method === 'CONNECT' || codings.length + lengths.length > 1) return undefined
  if (codings.length === 1)
    return codings[0]?.toLowerCase() === 'chunked' ? chunksEnd(bytes, from) : undefined
  if (lengths.length === 0) return from
  const length = /^\d+$/.test(lengths[0] ?? '') ? Number(lengths[0]) : Number.NaN
  return from + length <= bytes.length ? from + length : undefined
}

function chunksEnd(bytes: string, from: number): number | undefined {
  const size = /([0-9A-Fa-f]+)((?:[ \t]*;[ \t]*[\t\x20-\x7e\x80-\xff]*)?)\r\n/y
  for (let at = from; ; ) {
    size.lastIndex = at
    const match = size.exec(bytes)
    if (match === null) return undefined
    const length = Number.parseInt(match[1] ?? '', 16)
    at = size.lastIndex
    if (length === 0) return trailersEnd(bytes, at)
    if (!bytes.startsWith('\r\n', at + length)) return undefined
    at += length + 2
  }
}

function trailersEnd(bytes: string, from: number): number | undefined {
  for (let at = from; ; ) {
    const end = bytes.indexOf('\r\n', at)
    if (end === -1) return undefined
    if (end === at) return end + 2
    if (!field.test(bytes.slice(at, end))) return undefined
    at = end + 2
  }
}
