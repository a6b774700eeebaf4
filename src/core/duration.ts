import { AppError } from './errors.ts'

const units = { m: 60_000, h: 3_600_000, d: 86_400_000 } as const
type Unit = keyof typeof units

/** Milliseconds of a duration as people write it: a whole number and one of `m`, `h`, `d` (`30m`, `12h`, `7d`). */
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
  const whole = Math.max(1, Math.ceil(ms / units.m)) * units.m
  for (const unit of ['d', 'h'] as const) {
    if (whole % units[unit] === 0) return `${whole / units[unit]}${unit}`
  }
  return `${whole / units.m}m`
}
