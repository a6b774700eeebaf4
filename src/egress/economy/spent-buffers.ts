import { collectYoung } from './garbage.ts'

const everyBytes = 4 * 1024 * 1024
let since = 0

/**
 * To be told of every part of a body that has been passed on. Each is a buffer outside V8's heap, of which V8 sees a
 * small handle and lets more than 64 MiB lie about before it collects them; so it is made to look every 4 MiB, which
 * takes about half a millisecond, and a transfer of any length needs no more room than that.
 */
export function spent(bytes: number): void {
  since += bytes
  if (since < everyBytes) return
  since = 0
  collectYoung()
}
