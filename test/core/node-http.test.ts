import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)

/**
 * What Node itself has loaded in a process that has done nothing but this. The process prints it: what is loaded here
 * besides is vitest's doing.
 */
async function loadedBy(statement: string): Promise<string[]> {
  const program = `${statement}; console.log(JSON.stringify(process.moduleLoadList))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program])
  return (JSON.parse(stdout) as string[]).filter((name) => name.includes('undici'))
}

test('Node loads its HTTP client where its http is imported', async () => {
  expect(await loadedBy(`await import('node:http')`)).not.toEqual([])
})

test.each(['toolhost/toolhost.ts', 'egress/index.ts'])(
  'what runs for each person or each request has no HTTP client loaded: %s',
  async (module) => {
    expect(await loadedBy(`await import('${process.cwd()}/src/${module}')`)).toEqual([])
  },
)
