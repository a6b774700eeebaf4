const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const units = new Map([
  ['m', minute],
  ['min', minute],
  ['minute', minute],
  ['h', hour],
  ['hour', hour],
  ['d', day],
  ['day', day],
  ['w', 7 * day],
  ['week', 7 * day],
])

/** `7d`, `12h`, `90 min`, `2 weeks` as milliseconds; undefined when the text is no duration at all. */
export function parseDuration(text: string): number | undefined {
  const [, digits, word = ''] = /^(\d{1,9})\s*([a-z]+)$/.exec(text.trim().toLowerCase()) ?? []
  // Plurals, but not `ms`, which is another unit.
  const unit = units.get(word) ?? (word.length > 3 ? units.get(word.replace(/s$/, '')) : undefined)
  return unit === undefined ? undefined : Number(digits) * unit
}

/** A duration as a person says it, in the largest unit that divides it: `7 days`, `36 hours`, `1 minute`. */
export function sayDuration(ms: number): string {
  for (const name of ['week', 'day', 'hour', 'minute'] as const) {
    const unit = units.get(name) ?? minute
    // Nobody says "1 week" for a lifetime of seven days.
    if (name === 'week' && ms < 4 * unit) continue
    if (ms >= unit && ms % unit === 0) return count(ms / unit, name)
  }
  return count(Math.max(1, Math.round(ms / minute)), 'minute')
}

function count(number: number, name: string): string {
  return `${number} ${name}${number === 1 ? '' : 's'}`
}
