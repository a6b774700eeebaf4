import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Collect = (options: { type: 'minor' } | { type: 'major'; flavor: 'last-resort' }) => void

// The way that Node's documentation of `v8.setFlagsFromString` describes; there is no other to a young collection.
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as Collect
setFlagsFromString('--no-expose-gc')

/** Collects what died young; about half a millisecond. */
export function collectYoung(): void {
  collect({ type: 'minor' })
}

/**
 * Collects everything and gives the room back to the system, as V8 does of itself only where there is nothing to do.
 * Takes some 60 ms: for the end of a start, whose garbage and 30 MiB of room would stay for good.
 */
export function giveBackMemory(): void {
  collect({ type: 'major', flavor: 'last-resort' })
}
