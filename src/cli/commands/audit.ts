import type { Command } from 'commander'
import { z } from 'zod'
import { query, remote, text } from '../command.ts'
import type { CliIo } from '../io.ts'
import { table } from '../table.ts'

const events = z.looseObject({
  events: z.array(
    z.looseObject({
      id: z.number(),
      at: z.string(),
      kind: z.string(),
      principalId: z.string().nullable(),
      tokenId: z.string().nullable(),
      callId: z.string().nullable(),
      data: z.record(z.string(), z.unknown()),
    }),
  ),
  next: z.number().nullable(),
})
const people = z.looseObject({ people: z.array(z.looseObject({ id: z.string(), name: z.string() })) })

export function addAudit(program: Command, io: CliIo): void {
  const audit = program
    .command('audit')
    .description('who did what, newest first')
    .option('--person <person>', 'only of this person')
    .option('--call <id>', 'only of this call, with the egress requests that it caused')
    .option('--kind <kind>', 'only of this kind, such as call.finished')
    .option('--before <id>', 'the page before this event')
    .option('--limit <n>', 'at most so many, up to 500')
  remote(audit, io, 'audit --person alice --kind call.finished --limit 20', async (session) => {
    const { person, call, kind, before, limit } = session.options
    const filter = query({
      person: text(person),
      call: text(call),
      kind: text(kind),
      before: text(before),
      limit: text(limit),
    })
    const answer = await session.get(`/events${filter}`, events)
    const names =
      session.options.json === true
        ? new Map<string, string>()
        : new Map((await session.get('/people', people)).people.map(({ id, name }) => [id, name]))
    session.show(answer, () =>
      table(
        ['ID', 'AT', 'KIND', 'PERSON', 'TOKEN', 'CALL', 'FACTS'],
        answer.events.map((event) => [
          event.id,
          event.at,
          event.kind,
          event.principalId === null ? null : (names.get(event.principalId) ?? event.principalId),
          event.tokenId,
          event.callId,
          JSON.stringify(event.data),
        ]),
        'There are no such events.',
      ),
    )
    if (answer.next !== null) session.say(`There are more: --before ${answer.next}`)
  })
}
