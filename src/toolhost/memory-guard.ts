import type { Log } from '../core/index.ts'
import { listProcesses, type ProcessFacts } from './process-table.ts'
import type { Source } from './source.ts'

const everyMs = 500

/**
 * Watches the memory of the whole sandbox, which must have a process table of its own, and ends the biggest source
 * when all together pass the limit: its calls learn why, where the kernel would have picked any process silently.
 */
export function guardMemory(options: {
  limitBytes: number
  sources: () => Source[]
  log: Log
  /** The process table; left out: the kernel's. */
  table?: () => ProcessFacts[] | undefined
}): Disposable {
  const read = options.table ?? listProcesses
  const timer = setInterval(() => look(read()), everyMs)
  timer.unref()

  function look(table: ProcessFacts[] | undefined): void {
    const others = (table ?? []).filter((one) => one.pid !== process.pid)
    const total = others.reduce((sum, one) => sum + one.resident, 0)
    if (total <= options.limitBytes) return
    const memory = new Map(others.map((one) => [one.pid, one.resident]))
    let biggest: { source: Source; bytes: number } | undefined
    for (const source of options.sources()) {
      const bytes = source.members().reduce((sum, pid) => sum + (memory.get(pid) ?? 0), 0)
      if (bytes > (biggest?.bytes ?? 0)) biggest = { source, bytes }
    }
    if (biggest === undefined) return
    const { source, bytes } = biggest
    options.log.warn({ sourceId: source.launch.id, bytes, total }, 'memory limit passed')
    void source.end({
      code: 'source_crashed',
      message: `source "${source.launch.id}" was ended: the sandbox used ${mebibytes(total)} MiB of its ${mebibytes(options.limitBytes)} MiB of memory, this source the most of it (${mebibytes(bytes)} MiB)`,
    })
  }

  return { [Symbol.dispose]: () => clearInterval(timer) }
}

const mebibytes = (bytes: number) => Math.round(bytes / 1024 / 1024)
