import type { Command } from 'commander'
import { z } from 'zod'
import { at, remote, text } from '../command.ts'
import { CliFailure } from '../failure.ts'
import type { CliIo } from '../io.ts'
import { plainText, table } from '../table.ts'

const tool = z.looseObject({
  alias: z.string(),
  sourceId: z.string(),
  remoteName: z.string(),
  review: z.string(),
  available: z.boolean(),
  enabled: z.boolean(),
  callable: z.boolean(),
  definition: z.record(z.string(), z.unknown()),
  definitionDigest: z.string(),
})
const tools = z.looseObject({ tools: z.array(tool) })

export function addTools(program: Command, io: CliIo): void {
  const group = program.command('tools').description('tools that were found: list, accept, enable, disable')

  remote(
    group.command('list').description('list tools and their review'),
    io,
    'tools list',
    async (session) => {
      const answer = await session.get('/tools', tools)
      session.show(answer, () =>
        table(
          ['ALIAS', 'SOURCE', 'TOOL', 'REVIEW', 'CALLABLE', 'BECAUSE'],
          answer.tools.map((row) => [
            row.alias,
            row.sourceId,
            row.remoteName,
            row.review,
            row.callable ? 'yes' : 'no',
            because(row),
          ]),
          'No tools were found yet.',
        ),
      )
    },
  )

  const accept = group
    .command('accept')
    .description('make the present definition of a tool callable, after showing it')
    .argument('<alias>')
    .option('--digest <digest>', 'only if this is its definition')
  remote(accept, io, 'tools accept orders_list', async (session) => {
    const [alias] = session.args
    const found = (await session.get('/tools', tools)).tools.find((row) => row.alias === alias)
    if (found === undefined) throw new CliFailure('failed', `There is no tool ${JSON.stringify(alias)}.`)
    session.say(plainText(JSON.stringify(found.definition)))
    const definitionDigest = text(session.options.digest) ?? found.definitionDigest
    const answer = await session.post(at`/tools/${alias}/accept`, { definitionDigest }, tool)
    session.show(
      answer,
      () => `${plainText(answer.alias)} is accepted as ${plainText(answer.definitionDigest)}.\n`,
    )
  })

  for (const verb of ['enable', 'disable'] as const) {
    const change = group
      .command(verb)
      .description(verb === 'enable' ? 'let a tool be called again' : 'refuse every call of a tool at once')
      .argument('<alias>')
    remote(change, io, `tools ${verb} orders_list`, async (session) => {
      const answer = await session.post(at`/tools/${session.args[0]}/` + verb, {}, tool)
      session.show(
        answer,
        () => `${plainText(answer.alias)} is ${verb}d; ${because(answer) ?? 'it can be called'}.\n`,
      )
    })
  }
}

function because(row: z.output<typeof tool>): string | null {
  if (row.callable) return null
  if (!row.enabled) return 'it is disabled'
  if (!row.available) return 'its source no longer has it'
  return row.review === 'new' ? 'nobody has accepted it' : 'it changed since it was accepted'
}
