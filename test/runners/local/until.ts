import { setTimeout as sleep } from 'node:timers/promises'

/** Waits for something to become true, for at most `ms`, looking every 10 ms. */
export async function until(isTrue: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`it did not come true within ${ms} ms`)
    await sleep(10)
  }
}
