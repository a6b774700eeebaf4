import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { AppError } from '../../core/index.ts'
import type { HttpServer } from '../../http/index.ts'
import type { EmulatedSlack } from '../emulated-slack.ts'
import type { SignedSender } from '../signed-sender.ts'
import { createConversation } from './conversation.ts'
import { renderMessages, renderPage } from './page.ts'

export interface NewcomerDeps {
  slack: EmulatedSlack
  sender: SignedSender
  /** What the keys open; shown. */
  mcpUrl: string
  /** Shown in red on top of everything; for a run without isolation. */
  warning?: string
}

const As = z.enum(['alice', 'bob', 'dana', 'gary'])
const Query = z.object({ as: As.default('alice') })
const Say = z.object({ as: As.default('alice'), text: z.string().trim().min(1).max(500) })
const Leave = z.object({ as: As.default('alice'), gone: z.boolean().default(true) })
const Press = z.object({
  as: As.default('alice'),
  ts: z.string(),
  action: z.string(),
  value: z.string().default(''),
})

const policy =
  "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

const assets = [
  { path: '/newcomer/style.css', file: 'style.css', type: 'text/css; charset=utf-8' },
  { path: '/newcomer/script.js', file: 'script.js', type: 'text/javascript; charset=utf-8' },
  { path: '/newcomer/icon.svg', file: 'icon.svg', type: 'image/svg+xml' },
]

/**
 * The page where a newcomer is Alice, and the same as JSON: `POST /newcomer/say {as, text}` answers what the app
 * said, `POST /newcomer/press {as, ts, action}` presses a button, `POST /newcomer/leave {as, gone}` is Slack saying
 * that the person left (or, with `gone` false, came back), `GET /newcomer/messages?as=` lists. Whoever
 * reaches it is whom they say; it answers loopback names only, so that no web page can reach it by another name.
 */
export function registerNewcomer(server: HttpServer, deps: NewcomerDeps): void {
  const conversation = createConversation(deps)

  void server.register(async (scope) => {
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string' },
      (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(String(body)))),
    )
    scope.addHook('onRequest', async (request, reply) => {
      if (!/^(localhost|127\.0\.0\.1|\[::1\])$/.test(request.hostname.replace(/:\d+$/, '')))
        throw new AppError('forbidden', 'this page is for this machine only; open it as http://127.0.0.1')
      const site = request.headers['sec-fetch-site']
      if (request.method === 'POST' && site !== undefined && site !== 'same-origin' && site !== 'none')
        throw new AppError('forbidden', 'another web page tried to act here; open this page itself')
      void reply.headers({
        'content-security-policy': policy,
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
      })
    })

    scope.get('/', async (request, reply) => {
      const { as } = parse(Query, request.query)
      const messages = await conversation.messages(as)
      return reply
        .type('text/html; charset=utf-8')
        .send(renderPage({ as, messages, mcpUrl: deps.mcpUrl, warning: deps.warning }))
    })
    scope.get('/newcomer/fragment', async (request, reply) => {
      const { as } = parse(Query, request.query)
      const messages = await conversation.messages(as)
      return reply.type('text/html; charset=utf-8').send(renderMessages({ as, messages }).text)
    })
    scope.get('/newcomer/messages', async (request) => {
      const { as } = parse(Query, request.query)
      return { as, messages: await conversation.messages(as) }
    })
    scope.post('/newcomer/say', async (request, reply) => {
      const { as, text } = parse(Say, request.body)
      const messages = await conversation.say(as, text)
      if (isForm(request.headers['content-type']))
        return reply.redirect(`/?as=${as}#${anchor(messages)}`, 303)
      return { as, messages }
    })
    scope.post('/newcomer/leave', async (request) => {
      const { as, gone } = parse(Leave, request.body)
      await conversation.leave(as, gone)
      return { as, gone }
    })
    scope.post('/newcomer/press', async (request, reply) => {
      const { as, ...button } = parse(Press, request.body)
      await conversation.press(as, button)
      if (isForm(request.headers['content-type'])) return reply.redirect(`/?as=${as}`, 303)
      return { as, messages: await conversation.messages(as) }
    })
    for (const asset of assets) {
      const content = await readFile(new URL(`static/${asset.file}`, import.meta.url))
      scope.get(asset.path, async (_request, reply) => reply.type(asset.type).send(content))
    }
  })
}

function parse<Shape extends z.ZodType>(shape: Shape, value: unknown): z.infer<Shape> {
  const parsed = shape.safeParse(value ?? {})
  if (parsed.success) return parsed.data
  throw new AppError('invalid_input', z.prettifyError(parsed.error))
}

function isForm(contentType: string | undefined): boolean {
  return contentType?.startsWith('application/x-www-form-urlencoded') ?? false
}

function anchor(messages: { ts: string }[]): string {
  return `m${(messages.at(-1)?.ts ?? '').replace('.', '-')}`
}
