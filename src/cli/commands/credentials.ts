import type { Command } from 'commander'
import { z } from 'zod'
import { at, query, remote, text } from '../command.ts'
import type { CliIo } from '../io.ts'
import { plainText, shortTime, table } from '../table.ts'
import { readValue } from '../value.ts'

const place = z.looseObject({ name: z.string(), scope: z.string(), scopeId: z.string() })
const credentials = z.looseObject({
  credentials: z.array(place.extend({ keyId: z.string(), updatedAt: z.string(), updatedBy: z.string() })),
})

const prospect = place.extend({ readBy: z.array(z.string()), near: z.array(z.string()) })

/** Below this many characters a value is met in texts that know nothing of it. */
const easilyMet = 8

export function addCredentials(program: Command, io: CliIo): void {
  const group = program.command('credentials').description('secrets for the wire: set, list, remove')

  const set = group
    .command('set')
    .description('store a value, read from standard input or asked for at a terminal; never an argument')
    .argument('<name>', 'such as ORDERS_KEY')
    .option('--for <person>', 'only for this person')
  remote(set, io, 'credentials set ORDERS_KEY < key.txt', async (session) => {
    const [name = ''] = session.args
    const owner = text(session.options.for)
    // Whatever is wrong with the name or the person is told before anybody has pasted a secret.
    const { readBy, near } = await session.get(at`/credentials/${name}` + query({ for: owner }), prospect)
    if (readBy.length === 0) session.say(plainText(unread(name, near)))
    const { value, stripped } = await readValue(plainText(name), io)
    if (stripped) session.say('One line break at the end of the value was stripped.')
    const body = { value: value.reveal(), for: owner }
    const answer = await session.put(at`/credentials/${name}`, body, place)
    if (body.value.length < easilyMet)
      session.say(
        `A value of fewer than ${easilyMet} characters may stand in answers by chance, and is masked there too; a longer one is not.`,
      )
    session.show(answer, () => `${describe(answer)} is set.\n`)
  })

  const list = group.command('list').description('list names, never values')
  remote(list, io, 'credentials list', async (session) => {
    const answer = await session.get('/credentials', credentials)
    session.show(answer, () =>
      table(
        ['NAME', 'SCOPE', 'OF', 'SET', 'BY', 'SEALED TO'],
        answer.credentials.map((row) => [
          row.name,
          row.scope,
          row.scopeId === '' ? null : row.scopeId,
          shortTime(row.updatedAt),
          row.updatedBy,
          row.keyId,
        ]),
        'There are no credentials.',
      ),
    )
  })

  const remove = group
    .command('remove')
    .description('forget a credential')
    .argument('<name>')
    .option('--for <person>', 'the one of this person')
  remote(remove, io, 'credentials remove ORDERS_KEY', async (session) => {
    const filter = query({ for: text(session.options.for) })
    const answer = await session.remove(at`/credentials/${session.args[0]}` + filter, place)
    session.show(answer, () => `${describe(answer)} is removed.\n`)
  })
}

function unread(name: string, near: readonly string[]): string {
  const hint = near.length === 0 ? '' : ` Did you mean ${near.join(' or ')}?`
  return `No source that is applied reads ${name}.${hint} It can be set all the same, for one that is applied later.`
}

function describe({ name, scope, scopeId }: z.output<typeof place>): string {
  return plainText(scope === 'global' ? `${name} for everybody` : `${name} for the ${scope} ${scopeId}`)
}
