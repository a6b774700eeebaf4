import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Whether `name` can be run from this PATH. */
export function hasProgram(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** For the title of a test that needs a Debian package: how to run it; empty where the program is there. */
export function howToRun(program: string, file: string): string {
  return hasProgram(program) ? '' : ` (apt-get install -y ${program} && npx vitest run ${file})`
}
