/** Reads header blocks (RFC 7541) as strictly as it takes to trust what they say. */

export type Fields = [name: string, value: string][]

/** Appendix A; a colon parts name and value. */
const statics: Fields = `:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate`
  .split('\n')
  .map((line) => {
    const [name = '', ...value] = line.split(' ')
    return [name, value.join(' ')]
  })

/** Appendix B: how many bits each symbol has, in base 36, the end of a text at last. The codes follow (canonically). */
const lengths =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq' +
  'u'

/** Symbols by their code, a 1 in front of it. */
const symbols = new Map<number, number>()
{
  const order = Array.from(lengths, (length, symbol) => ({ length: Number.parseInt(length, 36), symbol }))
  order.sort((a, b) => a.length - b.length || a.symbol - b.symbol)
  let code = 0
  let last = 0
  for (const { length, symbol } of order) {
    code <<= length - last
    last = length
    symbols.set(2 ** length + code, symbol)
    code += 1
  }
}

function fromHuffman(bytes: Buffer): string {
  const text: number[] = []
  let code = 1
  for (const byte of bytes)
    for (let bit = 7; bit >= 0; bit -= 1) {
      code = code * 2 + ((byte >> bit) & 1)
      const symbol = symbols.get(code)
      if (symbol === undefined) continue
      text.push(symbol)
      code = 1
    }
  return Buffer.from(text).toString('latin1')
}

/** What one side of a connection has read so far decides how it reads on. */
export class BlockReader {
  #dynamic: Fields = []
  #size = 0
  #most = 4_096
  #block: Buffer = Buffer.alloc(0)
  #at = 0

  /** Throws where it is no block. */
  read(block: Buffer): Fields {
    this.#block = block
    this.#at = 0
    const fields: Fields = []
    while (this.#at < block.length) {
      const first = block[this.#at] ?? 0
      if (first >= 0x80) fields.push(this.#indexed(this.#number(7)))
      else if (first >= 0x40) {
        const field = this.#literal(6)
        fields.push(field)
        this.#size += sizeOf(field)
        this.#dynamic.unshift(field)
        this.#evict()
      } else if (first >= 0x20) {
        this.#most = this.#number(5)
        this.#evict()
      } else fields.push(this.#literal(4))
    }
    return fields
  }

  #evict(): void {
    while (this.#size > this.#most) {
      const last = this.#dynamic.pop()
      this.#size = last === undefined ? 0 : this.#size - sizeOf(last)
    }
  }

  #indexed(index: number): [string, string] {
    const field = index <= statics.length ? statics[index - 1] : this.#dynamic[index - statics.length - 1]
    if (field === undefined) throw new Error(`no field ${index}`)
    return [...field]
  }

  #literal(bits: number): [string, string] {
    const index = this.#number(bits)
    const name = index === 0 ? this.#text() : this.#indexed(index)[0]
    return [name, this.#text()]
  }

  #text(): string {
    const isHuffman = (this.#block[this.#at] ?? 0) >= 0x80
    const length = this.#number(7)
    const bytes = this.#block.subarray(this.#at, this.#at + length)
    if (bytes.length < length) throw new Error('a text that does not end')
    this.#at += length
    return isHuffman ? fromHuffman(bytes) : bytes.toString('latin1')
  }

  #number(bits: number): number {
    const most = 2 ** bits - 1
    let number = (this.#block[this.#at] ?? 0) & most
    this.#at += 1
    if (number < most) return number
    for (let shift = 0; ; shift += 7) {
      const byte = this.#block[this.#at] ?? 0
      this.#at += 1
      number += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return number
    }
  }
}

const sizeOf = ([name, value]: [string, string]): number => name.length + value.length + 32
