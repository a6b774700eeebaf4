import type { Command } from 'commander'
import { z } from 'zod'
import { at, remote, text } from '../command.ts'
import type { CliIo } from '../io.ts'
import { plainText, shortTime, table } from '../table.ts'

const runners = z.looseObject({
  runners: z.array(
    z.looseObject({
      id: z.string(),
      principalName: z.string(),
      state: z.string(),
      phase: z.string().nullable(),
      generation: z.number(),
      isolation: z.string().nullable(),
      stateSince: z.string(),
      lastActivityAt: z.string(),
      message: z.string().nullable(),
    }),
  ),
})

export function addRunners(program: Command, io: CliIo): void {
  const group = program.command('runners').description('the sandboxes of people: list, stop')

  const list = group.command('list').description('list runners and why they are in their state')
  remote(list, io, 'runners list', async (session) => {
    const answer = await session.get('/runners', runners)
    session.show(answer, () =>
      table(
        ['ID', 'PERSON', 'STATE', 'SINCE', 'LAST CALL', 'GENERATION', 'ISOLATION', 'WHY'],
        answer.runners.map((row) => [
          row.id,
          row.principalName,
          row.phase === null ? row.state : `${row.state} (${row.phase})`,
          shortTime(row.stateSince),
          shortTime(row.lastActivityAt),
          row.generation,
          row.isolation === 'none' ? 'NONE' : row.isolation,
          row.message,
        ]),
        'There are no runners.',
      ),
    )
  })

  const stop = group
    .command('stop')
    .description('end a sandbox; the home stays and the next call wakes it')
    .argument('<runner>', 'runner id or person')
    .option('--cause <text>', 'why, for the record')
  remote(stop, io, 'runners stop alice', async (session) => {
    const body = { cause: text(session.options.cause) }
    const shape = z.looseObject({ id: z.string() })
    const answer = await session.post(at`/runners/${session.args[0]}/stop`, body, shape)
    session.show(answer, () => `${plainText(answer.id)} is stopped.\n`)
  })
}
