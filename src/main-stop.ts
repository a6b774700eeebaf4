/** One Ctrl-C arrives twice under npm: from the terminal, and passed on by npm. Two of a person are further apart. */
const samePressMs = 500

/**
 * Aborts on the first SIGINT or SIGTERM, or when standard input or the terminal is gone; a second press ends the
 * process at once.
 */
export function stopSignal(also: { withStdin?: boolean; withTerminal?: boolean } = {}): AbortSignal {
  const stop = new AbortController()
  let firstAt: number | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    firstAt ??= performance.now()
    if (performance.now() - firstAt > samePressMs) process.exit(signal === 'SIGINT' ? 130 : 143)
    stop.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  if (also.withTerminal === true) process.on('SIGHUP', () => stop.abort())
  if (also.withStdin === true) process.stdin.resume().once('end', () => stop.abort())
  return stop.signal
}
