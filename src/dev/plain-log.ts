/** Where a log goes, a line at a time. */
export interface LogLines {
  write(line: string): void
}

/** Takes a logger's JSON lines and writes them as they are. */
export function rawLines(out: { write(text: string): unknown }): LogLines {
  return {
    write(line) {
      out.write(`${line.trimEnd()}\n`)
    },
  }
}

/** Takes a logger's JSON lines and writes them for a person: what happened and why, without stack and numbers. */
export function plainLines(out: { write(text: string): unknown }): LogLines {
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
