/** One Ctrl-C arrives twice under npm: from the terminal, and passed on by npm. Two of a person are further apart. */
const samePressMs = 500

/** What a second press may still take, before the process ends whatever is left. */
const atOnceMs = 5_000

export interface Stop {
  /** Aborted by the first press. */
  readonly signal: AbortSignal
  /** Done by a second press, all together, before the process ends. */
  readonly atOnce: (() => unknown)[]
}

/**
 * The first SIGINT or SIGTERM, or the end of standard input or of the terminal, asks to stop; a second press ends
 * everything at once, a third one this process alone.
 */
export function stopSignal(also: { withStdin?: boolean; withTerminal?: boolean } = {}): Stop {
  const stop = new AbortController()
  const atOnce: Stop['atOnce'] = []
  let presses = 0
  let pressedAt = Number.NEGATIVE_INFINITY
  const onSignal = (signal: NodeJS.Signals) => {
    if (performance.now() - pressedAt <= samePressMs) return
    pressedAt = performance.now()
    presses++
    stop.abort()
    const end = () => process.exit(signal === 'SIGINT' ? 130 : 143)
    if (presses > 2 || (presses === 2 && atOnce.length === 0)) end()
    if (presses !== 2) return
    setTimeout(end, atOnceMs)
    void Promise.allSettled(atOnce.map(async (each) => await each())).then(end)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  if (also.withTerminal === true) process.on('SIGHUP', () => stop.abort())
  if (also.withStdin === true) process.stdin.resume().once('end', () => stop.abort())
  return { signal: stop.signal, atOnce }
}
