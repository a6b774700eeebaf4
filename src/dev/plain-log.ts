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

/**
 * Takes a logger's JSON lines and writes them for a person: what happened and why, without stack and numbers. What the
 * egress proxy decided of each request is left out: the person reads a refusal beside their tool's result, and all of
 * them in the audit.
 */
export function plainLines(out: { write(text: string): unknown }): LogLines {
  return {
    write(line) {
      const text = plain(line)
      if (text !== undefined) out.write(`${text}\n`)
    },
  }
}

function plain(line: string): string | undefined {
  const text = line.trimEnd()
  try {
    const { level, name, msg, err, decision } = JSON.parse(text) as {
      level: number
      name: string
      msg: string
      err?: { message?: string }
      decision?: string
    }
    if (decision !== undefined) return undefined
    const why = err?.message === undefined ? '' : `: ${err.message}`
    return `${level >= 50 ? 'error' : 'warning'} (${name}): ${msg}${why}`
  } catch {
    return text
  }
}
