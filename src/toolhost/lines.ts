/** Cuts a byte stream into lines. Returns a function to feed; bytes after the last newline wait for more. */
export function lineCutter(options: {
  /** Longest line in bytes; a longer one calls `tooLong` once, and nothing is delivered any more. */
  maxBytes: number
  line: (text: string, bytes: number) => void
  tooLong: () => void
}): (chunk: Buffer) => void {
  let waiting: Buffer[] = []
  let waitingBytes = 0
  let broken = false

  function take(part: Buffer): void {
    waiting.push(part)
    waitingBytes += part.length
    if (waitingBytes <= options.maxBytes) return
    broken = true
    waiting = []
    options.tooLong()
  }

  return (chunk) => {
    let start = 0
    while (!broken) {
      const end = chunk.indexOf(10, start)
      if (end === -1) {
        if (start < chunk.length) take(start === 0 ? chunk : chunk.subarray(start))
        return
      }
      take(chunk.subarray(start, end))
      if (broken) return
      const whole = waiting.length === 1 ? waiting[0] : Buffer.concat(waiting)
      const bytes = waitingBytes
      waiting = []
      waitingBytes = 0
      start = end + 1
      if (whole !== undefined && bytes > 0) options.line(whole.toString('utf8'), bytes)
    }
  }
}
