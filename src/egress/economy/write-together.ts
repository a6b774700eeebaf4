let held: (() => void)[] = []

/**
 * Has something written once all that had arrived by now is dealt with, in the order asked. Writing to somebody who
 * sleeps wakes them, which takes longer than the writing; in a burst that is paid for once. `write` must not throw.
 */
export function writeTogether(write: () => void): void {
  if (held.length === 0) setImmediate(letGo)
  held.push(write)
}

function letGo(): void {
  const writes = held
  held = []
  for (const write of writes) write()
}
