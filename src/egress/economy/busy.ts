/** So many requests under way, and others have most likely arrived while one was dealt with. */
const many = 4

let requests = 0
let held: (() => void)[] = []
const waiting = new Set<() => void>()

/** A request is under way until what is returned is called, once. */
export function underWay(): () => void {
  requests += 1
  return () => {
    requests -= 1
    if (requests > 0) return
    for (const go of waiting) setImmediate(go)
    waiting.clear()
  }
}

/**
 * Settles when no request is under way, or after `mostMs`: for what is to be done beside them and has time. Whoever is
 * woken by it, such as the database, is given the processor of this process at once, and a request would wait for that.
 */
export async function quietMoment(mostMs: number): Promise<void> {
  if (requests === 0) return
  await new Promise<void>((resolve) => {
    const go = () => {
      clearTimeout(timer)
      // Where some request is always under way, nobody else would.
      waiting.delete(go)
      resolve()
    }
    const timer = setTimeout(go, mostMs)
    waiting.add(go)
  })
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
