import type { Readable } from 'node:stream'
import { CrumbBlocks } from './crumb-blocks.ts'
import { msPerPiece, worked } from './work.ts'

/** A larger piece goes on as it is. */
const crumbBytes = 1024
/** More of them than this is a piece, whoever reads it. */
const pieceBytes = 16 * 1024

/**
 * Has the crumbs that come to `from` told as pieces: the first of a turn of the event loop at once, what comes behind it
 * in the same turn as one at its end. Whoever frames single bytes has each cost as much as a large piece otherwise, and
 * what was read at once can be thousands of them, for which everybody waits. While nobody reads they are kept as pieces
 * too: as they came, each would take a hundred bytes of memory and more. No more is asked for in a turn that brought
 * some, for Node would read up to 32 times before anybody else has a turn (docs/decisions/0040).
 *
 * `came` is told of each piece that comes. For what is read as it flows, by `data`. What came before an end or an error
 * is told before that.
 */
export function takeTogether(from: Readable, came: (bytes: number) => void = () => worked(msPerPiece)): void {
  const push = from.push.bind(from)
  const destroy = from.destroy.bind(from)
  let crumbs: Buffer[] = []
  let bytes = 0
  let isTurn = false

  const tell = (): boolean => {
    const piece = Buffer.concat(crumbs, bytes)
    crumbs = []
    bytes = 0
    return push(piece)
  }
  const tellRest = () => {
    if (bytes > 0) tell()
  }
  const endTurn = () => {
    isTurn = false
    if (from.readableFlowing === true) tellRest()
    else if (bytes > 0) crumbs = [Buffer.concat(crumbs, bytes)]
  }
  const take = (piece: Buffer): boolean => {
    came(piece.length)
    if (bytes === 0 && piece.length >= crumbBytes) return push(piece)
    const isAlone = !isTurn && bytes === 0 && from.readableFlowing === true
    if (!isTurn) setImmediate(endTurn)
    isTurn = true
    if (isAlone) return push(piece)
    crumbs.push(piece)
    bytes += piece.length
    if (from.readableFlowing === true) return false
    if (bytes >= pieceBytes) return tell()
    return from.readableLength + bytes < from.readableHighWaterMark
  }

  from.push = (piece: Buffer | null) => {
    if (piece !== null) return take(piece)
    tellRest()
    return push(null)
  }
  from.destroy = (error) => {
    tellRest()
    return destroy(error)
  }
  from.on('resume', tellRest)
}

/** Has the crumbs that come to `from` while nobody reads kept as pieces, too; what is read is told as it comes. */
export function keepTogether(from: Readable): void {
  const push = from.push.bind(from)
  const destroy = from.destroy.bind(from)
  const blocks = new CrumbBlocks()
  let crumbs: Buffer[] = []
  let bytes = 0

  const tellRest = () => {
    if (bytes === 0) return
    const piece = Buffer.concat(crumbs, bytes)
    crumbs = []
    bytes = 0
    push(piece)
  }
  from.push = (piece: Buffer | null) => {
    if (piece === null || from.readableFlowing === true || piece.length >= crumbBytes) {
      tellRest()
      return push(piece)
    }
    blocks.add(crumbs, piece)
    bytes += piece.length
    if (bytes >= pieceBytes) tellRest()
    return from.readableLength + bytes < from.readableHighWaterMark
  }
  from.destroy = (error) => {
    tellRest()
    return destroy(error)
  }
  from.on('resume', tellRest)
}
