/** More than any client has to say before it hears something; post-quantum keys take two thousand. */
const maxHello = 16 * 1024

export type HelloRefusal = 'tunnel_not_tls' | 'tls_failed' | 'sni_mismatch' | 'ech_refused'

const recordHandshake = 22
const messageClientHello = 1
const extensionServerName = 0
/** Encrypted Client Hello (RFC 9849), and what went before it. */
const extensionsHiding: ReadonlySet<number> = new Set([0xfe0d, 0xffce])

/**
 * Whether the first bytes of a connection begin TLS (RFC 8446 section 4.1.2) with exactly `host` as the server name, in
 * clear and with no other hidden behind it; undefined while they are not all there.
 */
export function judgeClientHello(bytes: Buffer, host: string): { ok: true } | Refused | undefined {
  const message = handshakeMessage(bytes)
  if (message === undefined || 'ok' in message) return message
  try {
    const extensions = readExtensions(message)
    if (extensions.some(({ type }) => extensionsHiding.has(type))) return refuse('ech_refused')
    const names = extensions.filter(({ type }) => type === extensionServerName)
    const [only, ...more] = names.flatMap(({ data }) => serverNames(data))
    return only?.toLowerCase() === host && more.length === 0 && names.length === 1
      ? { ok: true }
      : refuse('sni_mismatch')
  } catch (error) {
    if (error instanceof Truncated) return refuse('tls_failed')
    throw error
  }
}

interface Refused {
  ok: false
  reason: HelloRefusal
}
const refuse = (reason: HelloRefusal): Refused => ({ ok: false, reason })

/**
 * The first handshake message, put together from its records once it is whole: it is looked at anew with every piece,
 * and whoever sends a byte in each record and in each piece must not have thousands of them copied each time.
 */
function handshakeMessage(bytes: Buffer): Buffer | Refused | undefined {
  /** Its type and its length. */
  const begun = Buffer.alloc(4)
  let have = 0
  for (let at = 0; ; ) {
    // Three bytes tell: a handshake, of SSL 3 or any TLS.
    const [type = recordHandshake, version = 3] = [bytes[at], bytes[at + 1]]
    if (type !== recordHandshake || version !== 3) return refuse(at === 0 ? 'tunnel_not_tls' : 'tls_failed')
    if (bytes.length < at + 5) return undefined
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0 || at + 5 + length > maxHello) return refuse('tls_failed')
    if (bytes.length < at + 5 + length) return undefined
    bytes.copy(begun, Math.min(have, begun.length), at + 5, at + 5 + length)
    have += length
    at += 5 + length
    if (begun[0] !== messageClientHello) return refuse('tls_failed')
    if (have < begun.length) continue
    const whole = begun.readUIntBE(1, 3) + begun.length
    if (whole > maxHello) return refuse('tls_failed')
    // Nothing may stand behind it in the same record: the client has heard no answer yet.
    if (have >= whole)
      return have === whole ? unwrapped(bytes.subarray(0, at)).subarray(begun.length) : refuse('tls_failed')
  }
}

/** What whole records hold. */
function unwrapped(records: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < records.length; ) {
    const end = at + 5 + records.readUInt16BE(at + 3)
    parts.push(records.subarray(at + 5, end))
    at = end
  }
  return Buffer.concat(parts)
}

class Truncated extends Error {}

/** Takes fields off the front; throws `Truncated` where one is longer than what is left. */
class Fields {
  #rest: Buffer

  constructor(bytes: Buffer) {
    this.#rest = bytes
  }

  get left(): number {
    return this.#rest.length
  }

  take(length: number): Buffer {
    if (this.#rest.length < length) throw new Truncated()
    const taken = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return taken
  }

  number(bytes: 1 | 2): number {
    return this.take(bytes).readUIntBE(0, bytes)
  }

  /** A vector with its length before it. */
  vector(lengthBytes: 1 | 2): Buffer {
    return this.take(this.number(lengthBytes))
  }
}

function readExtensions(message: Buffer): { type: number; data: Buffer }[] {
  const hello = new Fields(message)
  hello.take(2 + 32)
  hello.vector(1)
  hello.vector(2)
  hello.vector(1)
  if (hello.left === 0) return []
  const list = new Fields(hello.vector(2))
  if (hello.left > 0) throw new Truncated()
  const extensions: { type: number; data: Buffer }[] = []
  while (list.left > 0) extensions.push({ type: list.number(2), data: list.vector(2) })
  return extensions
}

function serverNames(data: Buffer): string[] {
  const field = new Fields(data)
  const list = new Fields(field.vector(2))
  if (field.left > 0) throw new Truncated()
  const names: string[] = []
  while (list.left > 0) {
    // One type is known; of another nobody can say what it names.
    if (list.number(1) !== 0) throw new Truncated()
    names.push(list.vector(2).toString('latin1'))
  }
  return names
}
