import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { buildCli, runCli } from '../../src/cli/index.ts'
import { addDatabaseCommands, addDev, addKeys, addServers } from '../../src/main-commands.ts'
import { cli } from '../support/cli.ts'

const io = { stdin: Readable.from([]), stdout: process.stdout, stderr: process.stderr, environment: {} }

function leaves(command: Command, path: string[] = []): string[][] {
  if (command.commands.length === 0) return [path]
  return command.commands.flatMap((below) => leaves(below, [...path, below.name()]))
}
const commands = leaves(buildCli(io))

test('every command has help with an example, --json, and a line in the documentation', async () => {
  const documented = readFileSync('docs/reference/cli.md', 'utf8')
  for (const path of commands) {
    const { code, out, err } = await cli([...path, '--help'])
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain(`Example:\n  $ toolcrib ${path.join(' ')}`)
    expect(out).toContain('--json')
    expect(out).toContain('--key-file')
    expect(documented).toMatch(new RegExp(`\\| \`toolcrib ${path.join(' ')}[ \`]`))
  }
  expect([...documented.matchAll(/^\| `toolcrib /gm)]).toHaveLength(commands.length)
})

test('the options of the commands on the server’s machine stand in the documentation', () => {
  const program = new Command('toolcrib')
  addServers(program, '0')
  addDatabaseCommands(program)
  addKeys(program)
  addDev(program, '0', 'nowhere')
  const rows = readFileSync('docs/reference/cli.md', 'utf8').split('\n')
  const ownFiles = program.commands
    .flatMap(({ options }) => options)
    .filter(({ long }) => long === '--config')
  expect(new Set(ownFiles.map(({ description }) => description))).toEqual(
    new Set(['configuration file (else TOOLCRIB_CONFIG, else toolcrib.yaml)']),
  )
  const missing = (command: Command, path: string[]): string[] => {
    const row = rows.find((line) => new RegExp(`^\\| \`${path.join(' ')}[ \`]`).test(line)) ?? ''
    const own = command.options.map(({ long }) => long ?? '').filter((long) => !row.includes(long))
    return [
      ...own.map((long) => `${path.join(' ')} ${long}`).filter((each) => !each.endsWith(' --config')),
      ...command.commands.flatMap((below) => missing(below, [...path, below.name()])),
    ]
  }
  expect(program.commands.flatMap((command) => missing(command, [command.name()]))).toEqual([])
})

test('what no server does yet is not offered', async () => {
  for (const verb of ['set', 'remove'])
    expect((await cli(['credentials', verb, '--help'])).out).not.toContain('--profile')
})

test('the program and its groups have help, and a command that does not exist is wrong use', async () => {
  expect(await cli(['--help'])).toMatchObject({ code: 0, out: expect.stringContaining('Exit codes: 0 done') })
  expect(await cli(['tokens', '--help'])).toMatchObject({ code: 0 })
  expect(await cli([])).toMatchObject({ code: 2 })
  expect(await cli(['tokens'])).toMatchObject({ code: 2, out: '' })
  expect(await cli(['tokns', 'issue'])).toMatchObject({ code: 2, err: expect.stringContaining('tokens') })
  expect(await cli(['tokens', 'issue'])).toMatchObject({ code: 2, err: expect.stringContaining('--for') })
  expect(await cli(['tokens', 'revoke'])).toMatchObject({ code: 2 })
  expect(await cli(['people', 'list', '--nope'])).toMatchObject({ code: 2 })
})

test('commands that others add end with an exit code too, never with the process', async () => {
  const program = buildCli(io)
  program.command('serve').action(() => {
    throw new Error('port taken')
  })
  const err: string[] = []
  const stderr = { write: (text: unknown) => err.push(String(text)) > 0 }
  expect(await runCli(['serve'], { ...io, stderr }, program)).toBe(1)
  expect(await runCli(['serve', '--nope'], { ...io, stderr }, program)).toBe(2)
  expect(err[0]).toBe('toolcrib: unexpected: Error: port taken\n')
})
