import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, inject, onTestFinished, test } from 'vitest'
import { runToolcrib } from '../support/dev-process.ts'

async function newFolder(): Promise<{ state: string; config: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-database-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const config = join(folder, 'toolcrib.yaml')
  const state = join(folder, 'state')
  await writeFile(
    config,
    JSON.stringify({ state_dir: state, sources: { orders: { kind: 'stdio', command: 'node' } } }),
  )
  return { state, config }
}

test('a command in the wrong place makes no database there, and says how to name the right one', async () => {
  const { state, config } = await newFolder()
  const commands = [
    ['keys', 'list'],
    ['keys', 'rotate'],
    ['egress', 'suggest', 'orders'],
    ['apply'],
    ['admin-key', 'new'],
  ]
  const answers = await Promise.all(
    commands.map(async (command) => await runToolcrib([...command, '--config', config], {})),
  )
  expect(answers.map(({ code, stderr }) => [code, stderr])).toEqual(
    commands.map(() => [
      1,
      `toolcrib: no database in ${state}; --config names another file, \`toolcrib serve\` makes one, and \`state_dir\` may name the folder of \`npm run dev\`, .toolcrib/dev\n`,
    ]),
  )
  const { code, stderr } = await runToolcrib(['egress', '--config', config], {})
  expect([code, stderr]).toEqual([
    1,
    expect.stringContaining(`no database runs in ${state}: set DATABASE_URL`),
  ])
  expect(existsSync(state)).toBe(false)
})

test('an egress proxy on a database that was not migrated says so, and makes no keys', async () => {
  const { state, config } = await newFolder()
  const { code, stderr } = await runToolcrib(['egress', '--config', config], {
    DATABASE_URL: inject('databaseUrl'),
  })
  expect([code, stderr]).toEqual([1, expect.stringContaining('run `toolcrib migrate` first')])
  expect(existsSync(state)).toBe(false)
})

test('a DATABASE_URL that is no address is refused before anything, and not shown', async () => {
  const { config } = await newFolder()
  const answer = await runToolcrib(['migrate', '--config', config], { DATABASE_URL: 'hunter2' })
  expect(answer).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('DATABASE_URL: does not begin with'),
  })
  expect(answer.stderr).not.toContain('hunter2')
})
