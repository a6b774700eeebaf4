const minute = 60_000
const units: Record<string, number> = {
  m: minute,
  min: minute,
  minute: minute,
  h: 60 * minute,
  hour: 60 * minute,
  d: 24 * 60 * minute,
  day: 24 * 60 * minute,
  w: 7 * 24 * 60 * minute,
  week: 7 * 24 * 60 * minute,
}

/** `7d`, `12h`, `90 min`, `2 weeks` as milliseconds; undefined when the text is no duration at all. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})\s*([a-z]+)$/.exec(text.trim().toLowerCase())
  const word = match?.[2] ?? ''
  const unit = Object.hasOwn(units, word) ? units[word] : units[word.replace(/s$/, '')]
  return match === null || unit === undefined || word === 'ms' ? undefined : Number(match[1]) * unit
}

/** A duration as a person says it, in the largest unit that divides it: `7 days`, `36 hours`, `1 minute`. */
export function sayDuration(ms: number): string {
  for (const name of ['week', 'day', 'hour', 'minute'] as const) {
    const unit = units[name] ?? minute
    // Nobody says "1 week" for a lifetime of seven days.
    if (name === 'week' && ms < 4 * unit) continue
    if (ms >= unit && ms % unit === 0) return count(ms / unit, name)
  }
  return count(Math.max(1, Math.round(ms / minute)), 'minute')
}

function count(number: number, name: string): string {
  return `${number} ${name}${number === 1 ? '' : 's'}`
}
