/**
 * A copy that keeps no more memory than it has bytes. A buffer keeps all that it was cut from: what Node makes of its own
 * is cut from blocks of 64 KiB where it is small, and what a session by HTTP/2 brings from as much that was read with it.
 */
export function inOwnMemory(bytes: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(own)
  return own
}

/**
 * The same of a text of ASCII. What V8 cuts out of a text is a view of it: the path of a record that waits would keep the
 * 32 KiB of its request's target.
 */
export function asciiInOwnMemory(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}
