import type { Writable } from 'node:stream'

/** A larger piece waits as it is. */
const crumbBytes = 1024
/** So many crumbs wait as they came: what is written in one go, a head and a short body, is sent in one go. */
const few = 16
const pieceBytes = 16 * 1024
/** In bytes. */
const widestChar = 3

type Write = (chunk: string | Buffer, encoding?: BufferEncoding, callback?: () => void) => boolean

const known = new WeakSet<Writable>()

/**
 * Has the crumbs that are written to `to` while others wait there put together, to be written once those have left, or
 * as pieces of 16 KiB: as it came each takes some 300 bytes of memory, of which no bound in bytes knows. Whoever does
 * not read, and has single bytes sent, would have 64 KiB that wait for them take 16 MiB, at each place where they do.
 * Nothing waits where nothing waited before. Again: nothing.
 */
export function putWaitingCrumbsTogether(to: Writable): void {
  if (known.has(to)) return
  known.add(to)
  const write = to.write.bind(to) as Write
  const end = to.end.bind(to) as (...args: unknown[]) => Writable
  /** Crumbs that were written as they came, since nothing waited. */
  let crumbs = 0
  let block: Buffer | undefined
  let used = 0

  const writeKept = () => {
    if (block === undefined || used === 0) return
    const piece = block.subarray(0, used)
    block = undefined
    used = 0
    write(piece, undefined, left)
  }
  /** What stood before the crumbs that are kept has left. */
  const left = () => {
    if (used === 0) crumbs = 0
    else if (!to.destroyed && !to.writableEnded) writeKept()
  }
  const take: Write = (chunk, encoding, callback) => {
    if (chunk.length >= crumbBytes || callback !== undefined) {
      writeKept()
      return write(chunk, encoding, callback)
    }
    if (to.writableLength === 0) {
      writeKept()
      crumbs = 0
    }
    crumbs += 1
    if (crumbs <= few) return write(chunk, encoding, crumbs === few ? left : undefined)
    block ??= Buffer.allocUnsafeSlow(pieceBytes + widestChar * crumbBytes)
    used += typeof chunk === 'string' ? block.write(chunk, used, encoding) : chunk.copy(block, used)
    if (used >= pieceBytes) writeKept()
    return !to.writableNeedDrain
  }

  to.write = ((chunk: string | Buffer, encoding?: BufferEncoding | (() => void), callback?: () => void) =>
    typeof encoding === 'function'
      ? take(chunk, undefined, encoding)
      : take(chunk, encoding, callback)) as Writable['write']
  to.end = ((...args: unknown[]) => {
    writeKept()
    return end(...args)
  }) as Writable['end']
}
