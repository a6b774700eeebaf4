import type { Command } from 'commander'
import { z } from 'zod'
import { at, remote, text } from '../command.ts'
import type { CliIo } from '../io.ts'
import { plainText, table } from '../table.ts'

const person = z.looseObject({
  id: z.string(),
  name: z.string(),
  slackTeam: z.string().nullable(),
  slackUser: z.string().nullable(),
  state: z.string(),
})
const people = z.looseObject({ people: z.array(person) })

export function addPeople(program: Command, io: CliIo): void {
  const group = program
    .command('people')
    .description('who may have tokens: list, add, deactivate, reactivate')

  remote(group.command('list').description('list everybody'), io, 'people list', async (session) => {
    const answer = await session.get('/people', people)
    session.show(answer, () =>
      table(
        ['ID', 'NAME', 'SLACK TEAM', 'SLACK USER', 'STATE'],
        answer.people.map((row) => [row.id, row.name, row.slackTeam, row.slackUser, row.state]),
        'Nobody is known yet; people appear when they first write to the Slack app, or by "people add".',
      ),
    )
  })

  const add = group
    .command('add')
    .description('make a person known before they have written to the Slack app')
    .argument('<name>')
    .requiredOption('--slack-team <id>', 'their Slack team, such as T0123ABCD')
    .requiredOption('--slack-user <id>', 'their Slack user, such as U0123ABCD')
  remote(add, io, 'people add Alice --slack-team T0123ABCD --slack-user U0123ABCD', async (session) => {
    const { slackTeam, slackUser } = session.options
    const body = { slackTeam: text(slackTeam), slackUser: text(slackUser), name: session.args[0] }
    const answer = await session.post('/people', body, person)
    session.show(answer, () => `${plainText(answer.name)} is known as ${plainText(answer.id)}.\n`)
  })

  const deactivate = group
    .command('deactivate')
    .description('end all tokens of a person and give no new ones')
    .argument('<person>')
    .option('--cause <text>', 'why, for the audit record')
  remote(deactivate, io, 'people deactivate alice --cause "left the company"', async (session) => {
    const body = { cause: text(session.options.cause) }
    const answer = await session.post(at`/people/${session.args[0]}/deactivate`, body, person)
    session.show(answer, () => `${plainText(answer.name)} is deactivated.\n`)
  })

  const reactivate = group
    .command('reactivate')
    .description('let a person have tokens again')
    .argument('<person>')
  remote(reactivate, io, 'people reactivate alice', async (session) => {
    const answer = await session.post(at`/people/${session.args[0]}/reactivate`, {}, person)
    session.show(answer, () => `${plainText(answer.name)} is active.\n`)
  })
}
