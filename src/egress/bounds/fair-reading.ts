import type { Socket } from 'node:net'
import { CrumbBlocks } from './crumb-blocks.ts'
import type { Part } from './loop-share.ts'
import { msPerByte, workDone } from './work.ts'

/** What is told at once should keep the loop no longer than so many ms. */
const sliceMs = 0.25
/** What begins a connection is cut like this, and what takes longer than thought no smaller than the least. */
const firstBytes = 4 * 1024
const leastBytes = 256
const mostBytes = 64 * 1024
/** What is smaller does not wait as it came. */
const crumbBytes = 1024

/** Whose part of the loop each socket's bytes take, and what has what is kept of them be read at once. */
const readings = new WeakMap<Socket, { part: Part; handOver: () => boolean }>()

/**
 * Has what `socket` brings told as fast as the share of its person allows: at once as a rule, and in slices that are
 * worth a quarter of a millisecond, by what those before took, where what is read takes long to deal with. While some
 * waits nothing more is read. An end, and an error, come behind all that came before them; what is given up on this side
 * ends at once. Again: it is another's part from here on.
 */
export function readFairly(socket: Socket, part: Part): void {
  const known = readings.get(socket)
  if (known !== undefined) {
    known.part = part
    return
  }
  const push = socket.push.bind(socket)
  const read = socket._read.bind(socket)
  const destroy = socket.destroy.bind(socket)
  let kept: Buffer[] = []
  let blocks: CrumbBlocks | undefined
  let bytes = 0
  let sliceBytes = firstBytes
  /** What comes behind all that is kept. */
  let hasEnded = false
  let broken: Error | undefined
  let waits = false

  const isHeard = () => socket.readableFlowing === true && socket.readableLength === 0 && !socket.destroyed

  /** While nobody reads so much may come as Node lets come: by that it sees a connection break. */
  const hasRoom = () => !waits && bytes + socket.readableLength < socket.readableHighWaterMark

  const tell = (slice: Buffer, now: number): boolean => {
    const before = workDone()
    const more = push(slice)
    const ms = workDone() - before + slice.length * msPerByte
    of.part.took(ms, now)
    if (ms > sliceMs) sliceBytes = Math.max(leastBytes, Math.round((slice.length * sliceMs) / ms))
    // Of a few bytes nothing is learnt about many.
    else if (2 * slice.length >= sliceBytes) sliceBytes = Math.min(mostBytes, 2 * sliceBytes)
    return more
  }
  const takeSlice = (): Buffer => {
    if ((kept[0]?.length ?? 0) < Math.min(bytes, leastBytes)) kept = [Buffer.concat(kept, bytes)]
    const [piece = Buffer.alloc(0)] = kept
    const slice = piece.subarray(0, sliceBytes)
    bytes -= slice.length
    if (slice.length === piece.length) kept.shift()
    else kept[0] = piece.subarray(slice.length)
    return slice
  }

  const tellAll = (): boolean => {
    const hasSome = bytes > 0
    for (const piece of kept.splice(0)) push(piece)
    blocks = undefined
    bytes = 0
    return hasSome
  }

  /** Nobody reads it, and there is nothing more to wait for: whoever wants the rest finds it. */
  const breakOff = (error: Error) => {
    tellAll()
    destroy(error)
  }
  const finish = () => {
    if (broken !== undefined) breakOff(broken)
    else if (hasEnded && bytes === 0 && !socket.destroyed) push(null)
  }
  const step = (): boolean => {
    waits = false
    if (socket.destroyed) return false
    if (bytes > 0 && isHeard()) tell(takeSlice(), performance.now())
    // It comes again when it is read on.
    waits = bytes > 0 && socket.readableFlowing === true && !socket.destroyed
    if (!waits) finish()
    return waits
  }
  const wait = () => {
    if (waits) return
    waits = true
    of.part.later(step)
  }

  /** As much as may be told now; what is left waits. */
  const tellSome = () => {
    for (let now = performance.now(); bytes > 0 && isHeard() && of.part.isFree(now); now = performance.now())
      tell(takeSlice(), now)
    if (bytes > 0 && socket.readableFlowing === true) wait()
    else if (bytes === 0 && !waits) finish()
  }

  const of = {
    part,
    handOver() {
      const hadSome = tellAll()
      finish()
      return hadSome
    },
  }
  readings.set(socket, of)

  socket.push = (piece: Buffer | null) => {
    if (piece === null) {
      if (bytes === 0) return push(null)
      hasEnded = true
      return false
    }
    const now = performance.now()
    if (bytes === 0 && piece.length <= sliceBytes && socket.readableLength === 0) {
      if (socket.readableFlowing !== true) return push(piece)
      if (of.part.isFree(now)) return tell(piece, now)
    }
    if (piece.length >= crumbBytes) kept.push(piece)
    else {
      blocks ??= new CrumbBlocks()
      blocks.add(kept, piece)
    }
    bytes += piece.length
    // Whoever does not listen yet hears by this that there is something.
    if (socket.readableFlowing !== true && socket.readableLength === 0) push(takeSlice())
    tellSome()
    return hasRoom()
  }
  socket._read = (size) => {
    // Of what is in the stream itself Node asks once only; whatever is kept is told in time, and behind that it asks again.
    if (!waits && bytes < socket.readableHighWaterMark) read(size)
  }
  socket.destroy = (error) => {
    if (bytes === 0 || error === undefined) return destroy(error)
    if (waits) broken ??= error
    else breakOff(error)
    return socket
  }
  // Node tells what is in the stream first.
  socket.on('resume', () => {
    if (bytes > 0 && !waits) process.nextTick(tellSome)
  })
}

/**
 * Has all that has come on `socket` be in the stream itself, for whoever goes on with it and takes what is there at once,
 * as Node's TLS does; whether some was kept.
 */
export function handOver(socket: Socket): boolean {
  return readings.get(socket)?.handOver() === true
}
