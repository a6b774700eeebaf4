/** So many requests under way, and others have most likely arrived while one was dealt with. */
const many = 4

let requests = 0
let held: (() => void)[] = []

/** A request is under way until what is returned is called, once. */
export function underWay(): () => void {
  requests += 1
  return () => void (requests -= 1)
}

/**
 * Has something written once all that had arrived by now is dealt with, in the order asked; at once where little is
 * under way. Writing to somebody who sleeps wakes them, which takes longer than the writing: in a burst that is paid
 * for once, and alone there is nothing to wait for. `write` must not throw.
 */
export function writeTogether(write: () => void): void {
  if (requests < many) return write()
  if (held.length === 0) setImmediate(letGo)
  held.push(write)
}

function letGo(): void {
  const writes = held
  held = []
  for (const write of writes) write()
}
