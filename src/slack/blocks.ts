import type { types } from '@slack/bolt'

export type Block = types.KnownBlock

/** What is said to a person. `text` is what a notification shows, so it never holds a secret; blocks may. */
export interface Message {
  text: string
  blocks: Block[]
}

/** The action id of the button that deletes the message it stands in. */
export const deleteAction = 'delete_message'

/** Text that Slack must show as it is: nothing in it becomes a mention, a link or markup. */
export function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/[`*~]|(?<!\w)_/g, (mark) => `\u200b${mark}`)
}

export function section(markdown: string): Block {
  return { type: 'section', text: { type: 'mrkdwn', text: markdown } }
}

export function context(markdown: string): Block {
  return { type: 'context', elements: [{ type: 'mrkdwn', text: markdown }] }
}

export function header(text: string): Block {
  return { type: 'header', text: { type: 'plain_text', text, emoji: false } }
}

export const divider: Block = { type: 'divider' }

/**
 * A bold title, a line in grey, and a text to copy. Preformatted rich text and not a mrkdwn fence: Slack
 * neither links, shortens nor beautifies anything in it.
 */
export function copyable(title: string, aside: string, text: string): Block {
  return {
    type: 'rich_text',
    elements: [
      {
        type: 'rich_text_section',
        elements: [
          { type: 'text', text: title, style: { bold: true } },
          ...(aside === '' ? [] : [{ type: 'text' as const, text: `  ${aside}` }]),
        ],
      },
      { type: 'rich_text_preformatted', elements: [{ type: 'text', text }], border: 0 },
    ],
  }
}

export function deleteButton(label: string): Block {
  return {
    type: 'actions',
    elements: [
      {
        type: 'button',
        action_id: deleteAction,
        style: 'danger',
        text: { type: 'plain_text', text: label, emoji: false },
      },
    ],
  }
}

/** A moment in the reader's own time zone, with UTC where Slack cannot format. */
export function slackDate(date: Date): string {
  const fallback = `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`
  return `<!date^${Math.floor(date.getTime() / 1000)}^{date_long_pretty} at {time}|${fallback}>`
}

/** A message of plain paragraphs. */
export function plain(markdown: string): Message {
  return { text: markdown, blocks: [section(markdown)] }
}
