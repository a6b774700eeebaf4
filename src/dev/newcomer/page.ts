import type { PersonHandle } from '../emulated-slack.ts'
import { renderBlocks } from './blocks.ts'
import type { SeenMessage } from './conversation.ts'
import { type Html, html } from './html.ts'
import { renderMrkdwn } from './mrkdwn.ts'

export interface PageFacts {
  as: PersonHandle
  messages: SeenMessage[]
  mcpUrl: string
  /** A sentence that must not be overlooked: there is no isolation. */
  warning: string | undefined
}

const people: { handle: PersonHandle; name: string; role: string }[] = [
  { handle: 'alice', name: 'Alice', role: 'member' },
  { handle: 'bob', name: 'Bob', role: 'member' },
  { handle: 'gary', name: 'Gary', role: 'guest' },
]

const suggestions = ['/mcp-token', '/mcp-token 12h', 'list', 'help']

/** The whole page; `renderMessages` is the part of it that moves. */
export function renderPage(facts: PageFacts): string {
  const me = people.find(({ handle }) => handle === facts.as) ?? {
    handle: facts.as,
    name: facts.as,
    role: 'admin',
  }
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Toolcrib – ${me.name} and the tools</title>
<link rel="stylesheet" href="/newcomer/style.css">
<link rel="icon" href="/newcomer/icon.svg" type="image/svg+xml">
<script src="/newcomer/script.js" defer></script>
</head>
<body>
${facts.warning !== undefined && html`<p class="warning" role="alert"><strong>No isolation.</strong> ${facts.warning}</p>`}
<div class="frame">
<aside>
  <p class="brand"><span class="mark" aria-hidden="true"></span>Toolcrib</p>
  <p class="workspace">Crib Works</p>
  <nav aria-label="Who you are">
    <h2>You are</h2>
    ${people.map(
      (
        person,
      ) => html`<a href="/?as=${person.handle}" ${person.handle === me.handle && html`aria-current="true"`}>
      <span class="face ${person.handle}" aria-hidden="true">${person.name.slice(0, 1)}</span>${person.name}<small>${person.role}</small></a>`,
    )}
  </nav>
  <p class="about">An emulated Slack on your machine. The app behind it is the real one: it checks signatures, keeps
  its work in PostgreSQL, and the keys it hands out open <code>${facts.mcpUrl}</code>.</p>
</aside>
<main>
  <header>
    <span class="face app" aria-hidden="true"></span>
    <div><h1>Toolcrib</h1><p>Keys to the company’s tools</p></div>
  </header>
  <section id="messages" aria-label="Messages" aria-live="polite">${renderMessages(facts)}</section>
  <footer>
    <form class="chips" method="post" action="/newcomer/say">
      <input type="hidden" name="as" value="${me.handle}">
      ${suggestions.map((text) => html`<button name="text" value="${text}">${text}</button>`)}
    </form>
    <form class="write" method="post" action="/newcomer/say" autocomplete="off">
      <input type="hidden" name="as" value="${me.handle}">
      <label class="hidden" for="text">Message Toolcrib</label>
      <input id="text" name="text" required maxlength="500" autofocus placeholder="Message Toolcrib – try /mcp-token">
      <button>Send</button>
    </form>
  </footer>
</main>
</div>
</body>
</html>`
  return page.text
}

export function renderMessages(facts: Pick<PageFacts, 'as' | 'messages'>): Html {
  const me = people.find(({ handle }) => handle === facts.as)?.name ?? facts.as
  if (facts.messages.length === 0) {
    return html`<div class="empty"><span class="mark" aria-hidden="true"></span>
      <h2>Good to see you, ${me}.</h2>
      <ol><li>Type <code>/mcp-token</code> below and press Enter.</li>
      <li>Copy the line of your client: Claude Code, Amp, Codex, Gemini CLI, VS Code or Cursor.</li>
      <li>Paste it, and ask your agent what tools it has.</li></ol></div>`
  }
  return html`${facts.messages.map((message) => renderMessage(facts.as, me, message))}`
}

function renderMessage(as: PersonHandle, me: string, message: SeenMessage): Html {
  const at = new Date(Number(message.ts.split('.')[0]) * 1000)
  const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' }).format(at)
  const face = message.fromApp
    ? html`<span class="face app" aria-hidden="true"></span>`
    : html`<span class="face ${as}" aria-hidden="true">${me.slice(0, 1)}</span>`
  const body =
    message.blocks.length === 0
      ? html`<p>${renderMrkdwn(message.text)}</p>`
      : html`${renderBlocks(message.blocks, (button) => renderButton(as, message.ts, button))}`
  return html`<article id="m${message.ts.replace('.', '-')}" ${message.ephemeral && html`class="only-you"`}>
    ${face}<div class="body">
    <p class="who"><strong>${message.fromApp ? 'Toolcrib' : me}</strong>${message.fromApp && html`<span class="badge">app</span>`}<time datetime="${at.toISOString()}">${time}</time>${message.ephemeral && html`<span class="aside">only you see this</span>`}</p>
    ${body}</div></article>`
}

function renderButton(
  as: PersonHandle,
  ts: string,
  button: { action: string; label: string; danger: boolean; value: string },
): Html {
  return html`<form method="post" action="/newcomer/press">
    <input type="hidden" name="as" value="${as}"><input type="hidden" name="ts" value="${ts}">
    <input type="hidden" name="action" value="${button.action}"><input type="hidden" name="value" value="${button.value}">
    <button ${button.danger && html`class="danger"`}>${button.label}</button></form>`
}
