import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { dirname } from 'node:path'

/** What a benchmark was asked for. */
export interface Asked {
  quick: boolean
  only: string[]
}

/** The load before anything was started; what is measured on a busy machine is said to say little. */
export function loadAtStart(say: (line: string) => void): string | undefined {
  const load = loadavg()[0]?.toFixed(1)
  if (Number(load) > 1) say(`load average is ${load}: figures of a busy machine say little`)
  return load
}

/** Writes figures with the command that made them and the machine that it ran on. */
export function writeResults(
  file: string,
  { name, asked, load }: { name: string; asked: Asked; load: string | undefined },
  figures: object,
): void {
  const report = {
    command: `npm run bench -- ${name}${asked.quick ? ' --quick' : ''}${asked.only.map((part) => ` --only ${part}`).join('')}`,
    at: new Date().toISOString(),
    machine: {
      cpus: cpus().length,
      model: cpus()[0]?.model,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      kernel: release(),
      loadAverageAtStart: load,
    },
    ...figures,
  }
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(report, rounded, 2)}\n`)
}

function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 1_000) / 1_000 : value
}
