import type { Command } from 'commander'
import { z } from 'zod'
import { at, query, remote, type Session, text } from '../command.ts'
import type { CliIo } from '../io.ts'
import { plainText, shortTime, table } from '../table.ts'

const issued = z.looseObject({
  id: z.string(),
  token: z.string(),
  expiresAt: z.string(),
  toolkit: z.string().nullable(),
  person: z.looseObject({ name: z.string() }),
})
const listed = z.looseObject({
  tokens: z.array(
    z.looseObject({
      id: z.string(),
      principalName: z.string(),
      toolkit: z.string().nullable(),
      state: z.string(),
      expiresAt: z.string(),
      lastUsedAt: z.string().nullable(),
      lastUsedClient: z.string().nullable(),
      lastUsedAddress: z.string().nullable(),
    }),
  ),
})
const titles = ['ID', 'PERSON', 'TOOLKIT', 'STATE', 'EXPIRES', 'LAST USED', 'WITH', 'FROM']

export function addTokens(program: Command, io: CliIo): void {
  const tokens = program.command('tokens').description('tokens of people: issue, list, rotate, revoke')

  const issue = tokens
    .command('issue')
    .description('issue a token; it alone is printed on standard output, once')
    .requiredOption('--for <person>', 'name, @name, Slack user id or principal id')
    .option('--lifetime <duration>', 'such as 30m, 12h, 7d')
    .option('--toolkit <slug>', 'bind it to one toolkit')
  remote(issue, io, 'tokens issue --for alice --lifetime 7d', async (session) => {
    const { options } = session
    const body = { for: text(options.for), lifetime: text(options.lifetime), toolkit: text(options.toolkit) }
    showIssued(session, await session.post('/tokens', body, issued))
  })

  const list = tokens
    .command('list')
    .description('list live tokens')
    .option('--for <person>', 'only of this person')
    .option('--all', 'ended ones too')
  remote(list, io, 'tokens list --for alice', async (session) => {
    const filter = query({
      for: text(session.options.for),
      includeEnded: session.options.all === true ? 'true' : undefined,
    })
    const answer = await session.get(`/tokens${filter}`, listed)
    session.show(answer, () =>
      table(
        titles,
        answer.tokens.map((token) => [
          token.id,
          token.principalName,
          token.toolkit,
          token.state,
          shortTime(token.expiresAt),
          shortTime(token.lastUsedAt),
          token.lastUsedClient,
          token.lastUsedAddress,
        ]),
        'There are no tokens.',
      ),
    )
  })

  const revoke = tokens
    .command('revoke')
    .description('end a token; it is refused from the next request on')
    .argument('<id>')
    .option('--cause <text>', 'why, for the audit record')
  remote(revoke, io, 'tokens revoke tok_7q0m8v2k4x9d --cause "lost laptop"', async (session) => {
    const [id] = session.args
    const body = { cause: text(session.options.cause) }
    const answer = await session.post(at`/tokens/${id}/revoke`, body, z.looseObject({ id: z.string() }))
    session.show(answer, () => `${plainText(answer.id)} is revoked.\n`)
  })

  const rotate = tokens
    .command('rotate')
    .description('replace a token by a new one; the old one is dead at once')
    .argument('<id>')
  remote(rotate, io, 'tokens rotate tok_7q0m8v2k4x9d', async (session) => {
    showIssued(session, await session.post(at`/tokens/${session.args[0]}/rotate`, {}, issued))
  })

  const revokeAll = tokens
    .command('revoke-all')
    .description('end all tokens of a person')
    .argument('<person>')
    .option('--cause <text>', 'why, for the audit record')
  remote(revokeAll, io, 'tokens revoke-all alice', async (session) => {
    const [person] = session.args
    const shape = z.looseObject({ revoked: z.number() })
    const body = { cause: text(session.options.cause) }
    const answer = await session.post(at`/people/${person}/revoke-all`, body, shape)
    session.show(
      answer,
      () => `${answer.revoked} ${answer.revoked === 1 ? 'token is' : 'tokens are'} revoked.\n`,
    )
  })
}

/** The token alone on standard output, so that `$(toolcrib tokens issue …)` is a token. */
function showIssued(session: Session, answer: z.output<typeof issued>): void {
  const { id, token, expiresAt, toolkit, person } = answer
  session.show(answer, () => `${token}\n`)
  const bound = toolkit === null ? '' : `, for the toolkit ${plainText(toolkit)}`
  session.say(
    `${plainText(id)} for ${plainText(person.name)}${bound}, until ${shortTime(expiresAt)} UTC; shown only now.`,
  )
}
