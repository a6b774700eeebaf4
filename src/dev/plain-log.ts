/** Takes a logger's JSON lines and writes them for a person: what happened and why, without stack and numbers. */
export function plainLines(out: { write(text: string): unknown }): { write(line: string): void } {
  return {
    write(line) {
      out.write(`${plain(line)}\n`)
    },
  }
}

function plain(line: string): string {
  const text = line.trimEnd()
  try {
    const { level, name, msg, err } = JSON.parse(text) as {
      level: number
      name: string
      msg: string
      err?: { message?: string }
    }
    const why = err?.message === undefined ? '' : `: ${err.message}`
    return `${level >= 50 ? 'error' : 'warning'} (${name}): ${msg}${why}`
  } catch {
    return text
  }
}
