import { hash } from 'node:crypto'

/** SHA-256 of a text or of bytes, in lower-case hex. */
export function sha256(data: string | Uint8Array): string {
  // In one go: a hash object costs twice as much, and lives on until the garbage collector finds it.
  return hash('sha256', data, 'hex')
}

/**
 * HMAC-SHA-256 (RFC 2104) under `key`, for the way of every request: Node's own makes a native object a time, which
 * costs five times as much when the key comes as bytes.
 */
export function createMac(key: Uint8Array): (text: string) => Buffer {
  const block = Buffer.alloc(blockBytes)
  block.set(key.byteLength > blockBytes ? hash('sha256', key, 'buffer') : key)
  const inner = block.map((byte) => byte ^ 0x36)
  const outer = block.map((byte) => byte ^ 0x5c)
  return (text) => {
    const first = hash('sha256', Buffer.concat([inner, Buffer.from(text)]), 'buffer')
    return hash('sha256', Buffer.concat([outer, first]), 'buffer')
  }
}

const blockBytes = 64

/**
 * JSON with the keys of every object sorted by UTF-16 code unit and no white space, so that equal values
 * have equal texts (the ordering and number rules of RFC 8785; values come from JSON, so no NaN, no cycles).
 */
export function canonicalJson(value: unknown): string {
  if (value === undefined) return 'null'
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).filter(([, member]) => member !== undefined)
    entries.sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${entries.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`
  }
  return JSON.stringify(value)
}

/** The digest that stands for a JSON value: SHA-256 over its canonical form. */
export function digestJson(value: unknown): string {
  return sha256(canonicalJson(value))
}

/** Whether a JSON value nests arrays and objects deeper than `limit`; never recurses further than that. */
export function deeperThan(value: unknown, limit: number): boolean {
  if (value === null || typeof value !== 'object') return false
  if (limit === 0) return true
  return Object.values(value).some((member) => deeperThan(member, limit - 1))
}
