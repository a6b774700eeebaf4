import { giveBackMemory } from './garbage.ts'

/** More of the processor's time than this in a look's time is work; less is what a proxy without requests takes. */
const workMs = 1_000

/**
 * Of the quiet looks behind work: the first, and the one by which what was made ready for it, and that nobody has asked
 * for in ten minutes, is forgotten.
 */
const givesBackAt = [1, 12]

/**
 * Gives back the room that work took once a minute has passed without any, and once more eleven minutes later. The
 * proxy runs without V8's own way of doing so after eight idle seconds: with the room that throws away compiled code,
 * and requests after a short pause would take a half longer for it.
 */
export function giveBackWhenQuiet(
  everyMs = 60_000,
  { cpuMs = ownCpuMs, giveBack = giveBackMemory } = {},
): Disposable {
  let before = cpuMs()
  let quietLooks = Number.POSITIVE_INFINITY
  const timer = setInterval(() => {
    const now = cpuMs()
    const isQuiet = now - before < workMs
    before = now
    quietLooks = isQuiet ? quietLooks + 1 : 0
    if (givesBackAt.includes(quietLooks)) giveBack()
  }, everyMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

function ownCpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}
