import { type Html, html } from './html.ts'

/** The part of Slack's mrkdwn that our app writes, as markup: code, bold, italics, links, dates, line ends. */
export function renderMrkdwn(text: string): Html[] {
  return text
    .split(/(`[^`\n]+`|<[^<>\n]+>|\*[^*\n]+\*|(?<!\w)_[^_\n]+_(?!\w)|\n)/)
    .filter((part) => part !== '')
    .map(renderPart)
}

function renderPart(part: string): Html {
  if (part === '\n') return html`<br>`
  if (part.length > 2 && part.startsWith('`') && part.endsWith('`'))
    return html`<code>${decode(part.slice(1, -1))}</code>`
  if (part.length > 2 && part.startsWith('*') && part.endsWith('*'))
    return html`<strong>${renderMrkdwn(part.slice(1, -1))}</strong>`
  if (part.length > 2 && part.startsWith('_') && part.endsWith('_'))
    return html`<em>${renderMrkdwn(part.slice(1, -1))}</em>`
  if (part.startsWith('<') && part.endsWith('>')) return renderAngle(part.slice(1, -1))
  return html`${decode(part)}`
}

function renderAngle(inner: string): Html {
  const date = /^!date\^(\d+)\^[^|]*\|(.*)$/.exec(inner)
  if (date !== null) {
    const at = new Date(Number(date[1]) * 1000)
    return html`<time datetime="${at.toISOString()}">${sayDate(at)}</time>`
  }
  const [target = '', label] = inner.split('|')
  // Only the web is a link here; slack:// would open an app that knows nothing of this workspace.
  if (/^https?:\/\//.test(target))
    return html`<a href="${decode(target)}" rel="noreferrer">${decode(label ?? target)}</a>`
  return html`<strong>${decode(label ?? target)}</strong>`
}

function sayDate(date: Date): string {
  const day = new Intl.DateTimeFormat('en-GB', { weekday: 'long', day: 'numeric', month: 'long' }).format(
    date,
  )
  const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' }).format(date)
  return `${day} at ${time}`
}

function decode(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
}
