/** Text from elsewhere without anything that a terminal would obey. */
export function plainText(text: string): string {
  return text.replace(/\p{C}/gu, '\u00b7')
}

/** Columns under their titles, two spaces apart, ending in a line break; `none` when there are no rows. */
export function table(titles: string[], rows: (string | number | null)[][], none: string): string {
  if (rows.length === 0) return `${none}\n`
  const texts = [
    titles,
    ...rows.map((row) => row.map((cell) => (cell === null ? '-' : plainText(String(cell))))),
  ]
  const widths = titles.map((_, column) => Math.max(...texts.map((row) => width(row[column] ?? ''))))
  const line = (row: string[]) =>
    row
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - width(cell))))
      .join('  ')
      .trimEnd()
  return `${texts.map(line).join('\n')}\n`
}

function width(text: string): number {
  return Array.from(text).length
}

/** `2026-11-23 19:05` in UTC, from an ISO time. */
export function shortTime(iso: string | null): string | null {
  return iso === null ? null : iso.slice(0, 16).replace('T', ' ')
}
