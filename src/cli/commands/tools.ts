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
  configured: z.boolean(),
  available: z.boolean(),
  enabled: z.boolean(),
  callable: z.boolean(),
  definition: z.record(z.string(), z.unknown()),
  definitionDigest: z.string(),
  changes: z.array(
    z.looseObject({ path: z.string(), before: z.unknown().optional(), after: z.unknown().optional() }),
  ),
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
    for (const line of differenceOf(found)) session.say(plainText(line))
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
  if (!row.configured) return 'its source is not in the configuration any more'
  if (!row.enabled) return 'it is disabled'
  if (!row.available) return 'its source no longer has it'
  if (row.review === 'new') return 'nobody has accepted it'
  const [definition, destination] = [row.changes.some(isOfDefinition), !row.changes.every(isOfDefinition)]
  const what = [...(definition ? ['its definition'] : []), ...(destination ? ['where it may send data'] : [])]
  return `${what.length === 0 ? 'it' : what.join(' and ')} changed since it was accepted`
}

type Row = z.output<typeof tool>

function isOfDefinition({ path }: Row['changes'][number]): boolean {
  return path.startsWith('/definition')
}

/** What a person must look at beside the definition: where a new tool may send data, and all that changed of another. */
function differenceOf({ review, changes }: Row): string[] {
  const isNew = review === 'new'
  const shown = isNew ? changes.filter((change) => !isOfDefinition(change)) : changes
  if (isNew && shown.length === 0) return ['It may send data nowhere.']
  if (shown.length === 0) return []
  return [isNew ? 'It may send data to:' : 'Since it was accepted:', ...shown.map(changeLine)]
}

function changeLine({ path, before, after }: Row['changes'][number]): string {
  if (before === undefined) return `  + ${path}: ${JSON.stringify(after)}`
  if (after === undefined) return `  - ${path}: ${JSON.stringify(before)}`
  return `  ~ ${path}: ${JSON.stringify(before)} is now ${JSON.stringify(after)}`
}
