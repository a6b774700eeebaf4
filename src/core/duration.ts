import { AppError } from './errors.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const week = 7 * day
const units = { m: minute, h: hour, d: day } as const
type Unit = keyof typeof units

/** What people also call them when they speak. */
const spoken = new Map([
  ...Object.entries(units),
  ['min', minute],
  ['minute', minute],
  ['hour', hour],
  ['day', day],
  ['w', week],
  ['week', week],
])

/**
 * Milliseconds of a duration as files, commands and the API write it: a whole number and one of `m`, `h`, `d`
 * (`30m`, `12h`, `7d`). Throws `invalid_input` for everything else.
 */
export function parseDuration(text: string): number {
  const match = /^([1-9]\d{0,5})([mhd])$/.exec(text)
  if (match === null) {
    const shown = JSON.stringify(text.slice(0, 40))
    throw new AppError(
      'invalid_input',
      `${shown} is not a duration; write a whole number and m, h or d, e.g. 30m, 12h, 7d`,
    )
  }
  return Number(match[1]) * units[match[2] as Unit]
}

/** The shortest exact spelling in whole minutes, hours or days; parts of a minute are rounded up. */
export function formatDuration(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms / minute)) * minute
  for (const unit of ['d', 'h'] as const) {
    if (whole % units[unit] === 0) return `${whole / units[unit]}${unit}`
  }
  return `${whole / minute}m`
}

/**
 * The same as people say it in conversation: `7d`, `12h`, `90 min`, `2 weeks`. Undefined when the text is no
 * duration at all, because it may then be something else.
 */
export function understandDuration(text: string): number | undefined {
  const [, digits, word = ''] = /^(\d{1,9})\s*([a-z]+)$/.exec(text.trim().toLowerCase()) ?? []
  // Plurals, but not `ms`, which is another unit.
  const unit = spoken.get(word) ?? (word.length > 3 ? spoken.get(word.replace(/s$/, '')) : undefined)
  return unit === undefined ? undefined : Number(digits) * unit
}

/** A duration as a person says it, in the largest unit that divides it: `7 days`, `36 hours`, `1 minute`. */
export function sayDuration(ms: number): string {
  // Nobody says "1 week" for a lifetime of seven days.
  if (ms >= 4 * week && ms % week === 0) return count(ms / week, 'week')
  if (ms >= day && ms % day === 0) return count(ms / day, 'day')
  if (ms >= hour && ms % hour === 0) return count(ms / hour, 'hour')
  return count(Math.max(1, Math.round(ms / minute)), 'minute')
}

function count(number: number, name: string): string {
  return `${number} ${name}${number === 1 ? '' : 's'}`
}
