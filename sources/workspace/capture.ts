/** Longest text that a tool gives back for one stream or file, in bytes. */
export const captureBytes = 256 * 1024

/** Keeps the beginning and the end of a stream, `captureBytes` in all, however much is fed to it. */
export interface Capture {
  add(chunk: Buffer): void
  /** What was kept, with a marker where bytes are missing. */
  text(): string
  readonly bytes: number
}

export function createCapture(): Capture {
  const half = captureBytes / 2
  let head = Buffer.alloc(0)
  let tail: Buffer[] = []
  let tailBytes = 0
  let bytes = 0

  function trim(): Buffer {
    const all = Buffer.concat(tail)
    const kept = Buffer.from(all.subarray(Math.max(0, all.length - half)))
    tail = [kept]
    tailBytes = kept.length
    return kept
  }

  return {
    add(chunk) {
      bytes += chunk.length
      const room = half - head.length
      if (room > 0) head = Buffer.concat([head, chunk.subarray(0, room)])
      if (chunk.length <= room) return
      const rest = chunk.subarray(Math.max(0, room))
      tail.push(rest)
      tailBytes += rest.length
      if (tailBytes > 4 * half) trim()
    },
    text() {
      const end = trim()
      const missing = bytes - head.length - end.length
      if (missing === 0) return Buffer.concat([head, end]).toString('utf8')
      return `${head.toString('utf8')}\n[… ${missing} bytes left out …]\n${end.toString('utf8')}`
    },
    get bytes() {
      return bytes
    },
  }
}
