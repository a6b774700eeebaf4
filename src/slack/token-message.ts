import type { IssuedToken } from '../access/index.ts'
import { sayDuration } from '../core/index.ts'
import {
  type Block,
  context,
  copyable,
  deleteButton,
  divider,
  header,
  type Message,
  section,
  slackDate,
} from './blocks.ts'
import { clientLines, connectionName, endpointUrl } from './client-lines.ts'
import { opens } from './wording.ts'

/**
 * The one message that holds a token. Its notification text does not. `again` is true when an earlier
 * message with a key that no longer works may have got through.
 */
export function tokenMessage(
  issued: IssuedToken,
  about: {
    publicUrl: string
    serverName: string
    warning?: string
    lifetimeMs: number
    replaced: string | null
    again: boolean
  },
): Message {
  const token = issued.token.reveal()
  const url = endpointUrl(about.publicUrl, issued.toolkit)
  const name = connectionName(about.serverName, issued.toolkit)
  const lines = clientLines({ name, url, token })
  const intro = [
    `It opens ${opens(issued.toolkit)} and expires *in ${sayDuration(about.lifetimeMs)}*: ${slackDate(issued.expiresAt)}.`,
    about.replaced === null ? '' : `\`${about.replaced}\`, which it replaces, is dead.`,
    about.again ? 'If you see an earlier message about this key, what it shows no longer works.' : '',
  ].filter((line) => line !== '')
  const blocks: Block[] = [
    header('Your key to the tools'),
    ...(about.warning === undefined ? [] : [section(`:red_circle: *${about.warning}*`)]),
    section(intro.join('\n')),
    copyable('Token', 'shown this once', token),
    section('Paste the line of your client, and you are done.'),
    ...lines.flatMap((line) => [
      copyable(line.client, line.where, line.text),
      ...(line.note === '' ? [] : [context(line.note)]),
    ]),
    divider,
    context(
      `Any other MCP client: ${url} with the header \`Authorization: Bearer &lt;token&gt;\`. This key’s id is \`${issued.id}\`; \`/mcp-token revoke ${issued.id}\` ends it.`,
    ),
    deleteButton('Delete this message'),
  ]
  return { text: 'Your key to the tools is here. It is shown once.', blocks }
}
