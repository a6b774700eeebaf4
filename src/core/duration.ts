const units = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** Milliseconds of a duration such as `30s`, `15m`, `12h` or `7d`; undefined for anything else, and for zero. */
export function parseDuration(text: string): number | undefined {
  const match = /^([1-9]\d{0,6})([smhd])$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * units[match[2] as keyof typeof units]
}

/** The shortest exact form that `parseDuration` reads back; `ms` is a positive whole number of seconds. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm'] as const) {
    if (ms % units[unit] === 0) return `${ms / units[unit]}${unit}`
  }
  return `${Math.round(ms / units.s)}s`
}
