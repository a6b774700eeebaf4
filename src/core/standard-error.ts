import { writeSync } from 'node:fs'

/** So much waits while nothing can be written, and no more. */
const keptBytes = 1024 * 1024
/** A pipe that is full is tried again after so long, by who has a line for it. */
const pauseMs = 100
const nobody = new Int32Array(new SharedArrayBuffer(4))

/**
 * Standard error, for lines. It may be a file on a disk that is full, and what was to be said there must not end what
 * was being done: lines wait for room, and `told` hears how many were lost once there is some.
 */
export function standardError(told: (lost: number) => void): { write(text: string): void } {
  /** The first may be the rest of a line that was begun. */
  const waiting: Buffer[] = []
  let kept = 0
  let lost = 0

  const flush = (): boolean => {
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      const written = writeSome(first)
      if (written === undefined) return false
      kept -= written
      if (written < first.length) waiting[0] = first.subarray(written)
      else waiting.shift()
    }
    return true
  }

  return {
    write(text) {
      const bytes = Buffer.from(text)
      if (kept + bytes.length > keptBytes && !flush()) {
        lost += text.split('\n').length - 1
        return
      }
      waiting.push(bytes)
      kept += bytes.length
      if (!flush() || lost === 0) return
      const since = lost
      lost = 0
      told(since)
    },
  }
}

/** How many bytes were taken; undefined where none can be. */
function writeSome(bytes: Buffer): number | undefined {
  for (;;) {
    try {
      return writeSync(2, bytes)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return undefined
      Atomics.wait(nobody, 0, 0, pauseMs)
    }
  }
}
