import { spawn } from 'node:child_process'

export interface ToolRun {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a program of `node_modules/.bin` with this very Node and returns everything it printed. */
export function runTool(name: string, args: string[], env: Record<string, string> = {}): Promise<ToolRun> {
  const bin = new URL(`../../node_modules/.bin/${name}`, import.meta.url).pathname
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}
