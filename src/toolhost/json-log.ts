import type { Log } from '../core/index.ts'

/** JSON lines on standard error, without the time that pino takes to load. */
export function jsonLog(fields: object): Log {
  const write = (level: string) => (more: object, message: string) =>
    void process.stderr.write(
      `${JSON.stringify({ level, time: Date.now(), ...fields, ...more, msg: message })}\n`,
    )
  return {
    debug: () => undefined,
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    lines(texts, message) {
      for (const text of texts) write('info')(JSON.parse(`{${text}}`) as object, message)
    },
    child: (more) => jsonLog({ ...fields, ...more }),
    isLevelEnabled: (level) => level !== 'debug',
  }
}
