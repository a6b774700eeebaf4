import { afterAll, expect, test } from 'vitest'
import { html } from '../../src/dev/newcomer/html.ts'
import { renderMrkdwn } from '../../src/dev/newcomer/mrkdwn.ts'
import { home } from '../support/access.ts'
import { startNewcomerPage } from '../support/newcomer.ts'

const page = await startNewcomerPage()
afterAll(async () => await page[Symbol.asyncDispose]())

const post = async (path: string, body: unknown, headers: Record<string, string> = {}) =>
  await fetch(`${page.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })

test('one request from a shell brings a token that works', async () => {
  const answer = await post('/newcomer/say', { as: 'alice', text: '/mcp-token 1h' })
  const [token] = /tcb_\w+/.exec(await answer.text()) ?? []
  await expect(page.house.access.verify(token ?? '', home)).resolves.toMatchObject({ principalName: 'Alice' })
  const listed = await (await fetch(`${page.url}/newcomer/messages?as=alice`)).text()
  expect(listed).toContain(token)
  expect(await (await fetch(`${page.url}/newcomer/messages?as=bob`)).json()).toEqual({
    as: 'bob',
    messages: [],
  })
})

test('what Slack shows at once to the one who typed appears as such', async () => {
  const help = await (await post('/newcomer/say', { as: 'bob', text: '/mcp-token help' })).json()
  expect(help).toMatchObject({ messages: [{ ephemeral: true, fromApp: true }] })
  const other = await (await post('/newcomer/say', { as: 'bob', text: '/giphy cat' })).text()
  expect(other).toContain('not a valid command')
})

test('a button can be pressed from a shell', async () => {
  await post('/newcomer/say', { as: 'bob', text: 'mcp-token' })
  const before = (await (await fetch(`${page.url}/newcomer/messages?as=bob`)).json()) as {
    messages: { ts: string; blocks: unknown[] }[]
  }
  const message = before.messages.findLast(({ blocks }) => blocks.length > 1)
  await post('/newcomer/press', { as: 'bob', ts: message?.ts, action: 'delete_message' })
  const after = await (await fetch(`${page.url}/newcomer/messages?as=bob`)).text()
  expect(after).not.toContain('tcb_')
})

test('the page is strict: its policy, other names and other pages', async () => {
  const answer = await fetch(page.url)
  const policy = answer.headers.get('content-security-policy') ?? ''
  expect(policy).toContain("default-src 'none'")
  expect(policy).not.toContain('unsafe')
  const body = await answer.text()
  expect(body).not.toMatch(/<script>|<style|\son\w+=|style=/)
  const foreign = await post('/newcomer/say', { text: '/mcp-token' }, { 'sec-fetch-site': 'cross-site' })
  expect(foreign.status).toBe(403)
  const { request } = await import('node:http')
  const status = await new Promise((resolve) => {
    request(page.url, { headers: { host: 'rebound.example' } }, (response) =>
      resolve(response.statusCode),
    ).end()
  })
  expect(status).toBe(403)
  expect((await post('/newcomer/say', { as: 'mallory', text: 'x' })).status).toBe(400)
})

test('nothing that was said becomes markup', async () => {
  await post('/newcomer/say', { as: 'bob', text: '<img src=x onerror=alert(1)> & "quotes"' })
  const body = await (await fetch(`${page.url}/?as=bob`)).text()
  expect(body).not.toContain('<img')
  expect(html`<a title="${'"><b>'}">`.text).toBe('<a title="&#34;&#62;&#60;b&#62;">')
  const shown = renderMrkdwn(
    '*a* `&lt;b&gt;` <https://x.example|y> <slack://app?x|z> <!date^0^{date}|then>\n_e_ snake_case_word',
  )
    .map(({ text }) => text)
    .join('')
  expect(shown).toContain(
    '<strong>a</strong> <code>&#60;b&#62;</code> <a href="https://x.example" rel="noreferrer">y</a> <strong>z</strong>',
  )
  expect(shown).toContain('<br><em>e</em> snake_case_word')
  expect(shown).toContain('datetime="1970-01-01T00:00:00.000Z"')
})
