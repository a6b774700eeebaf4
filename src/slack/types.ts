import type { Access } from '../access/index.ts'
import type { Clock, Log, PrincipalId, Secret } from '../core/index.ts'
import type { HttpServer } from '../http/index.ts'
import type { Notices, Store } from '../store/index.ts'

export interface SlackOptions {
  /** The app's bot token (`xoxb-…`). */
  botToken: Secret
  /** Signs what Slack posts to us; unused in Socket Mode. */
  signingSecret: Secret
  /** An app-level token (`xapp-…`): Socket Mode when given, else HTTP. */
  appToken?: Secret
  /** Another Web API than Slack's, ending in `/api/`; for the emulator. */
  apiUrl?: string
  /** Where clients reach this server, without a path: `https://tools.example.com`. */
  publicUrl: string
  /** The name clients give the connection; `[a-z0-9-]`, short. */
  serverName: string
  /** Stands first in every message that holds a token. */
  warning?: string
}

/** Lifetimes of tokens in ms; `defaultLifetimeMs` is what an ask without a duration gets. */
export interface TokenLifetimes {
  defaultLifetimeMs: number
  maxLifetimeMs: number
}

export interface SlackDeps {
  access: Access
  store: Store
  notices: Notices
  log: Log
  options: SlackOptions
  mcpTokenDefaults: TokenLifetimes
  /** The toolkits that exist, for `/mcp-token 7d orders`. */
  toolkits: () => Promise<{ slug: string; title: string }[]>
  /** Called once a token was issued, so that a runner can be warmed; must not throw. */
  onIssued?: (principalId: PrincipalId) => void
  clock?: Clock
}

export interface SlackApp {
  /** Adds `POST /slack/events`; in Socket Mode it adds nothing. */
  register(server: HttpServer): void
  /** Who the bot token belongs to; throws `unavailable` with the cure when Slack refuses it. For `doctor`. */
  check(): Promise<{ team: string; teamId: string; botUserId: string; scopes: string[] }>
  /** Takes nothing more, lets the job in hand end (10 s at most), and stops. */
  [Symbol.asyncDispose](): Promise<void>
}
