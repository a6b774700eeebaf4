import type { Access, Caller } from '../access/index.ts'
import type { CallRequest, Calls } from '../calls/index.ts'
import type { Log } from '../core/index.ts'
import type { Notice, Notices } from '../store/index.ts'

export interface McpOptions {
  /** What the server calls itself, at most a few characters: clients put it before every tool's name. */
  name: string
  version: string
  /** Shown to the model when a client opens: what this is and how to find out more. */
  instructions: string
  /** Ends every text about a missing or rejected token: how a person gets a new one. */
  tokenHelp: string
  /** Signs session labels; at least 32 bytes, the same on every replica. */
  labelKey: Uint8Array
  /** Host names under which this server may be addressed, besides loopback; `*` leaves the check to a proxy. */
  allowedHosts: string[]
  /** Host names of web pages that may call, besides loopback. A request without `Origin` always passes. */
  allowedOrigins: string[]
  /** Largest request body in bytes. */
  bodyLimit: number
  /** The status of an answer to a token that is not accepted. 401 makes most clients talk about OAuth. */
  rejectedTokenStatus: 400 | 401 | 403
  /** A running call shows a sign of life at least this often, in ms. */
  heartbeatMs: number
  /** A call that ends within this many ms is answered as plain JSON; after it, headers leave and a stream opens. */
  quickMs: number
  /** Tools on one page of `tools/list`. */
  pageSize: number
  /** How long a client may keep a list, in ms. */
  listTtlMs: number
  /** Answers well-formed `tools/call` requests without the SDK; off only to compare the two. */
  direct: boolean
}

export const mcpDefaults = {
  name: 'toolcrib',
  instructions:
    "Toolcrib: your company's tools. Every call runs in the sandbox of the person whose token this is; " +
    'credentials are added on the wire and are never visible here. Call `whoami` to see whose token this is, ' +
    'when it expires and which tools it opens.',
  tokenHelp: 'Send "/mcp-token" to the Toolcrib app in Slack to get a new token.',
  allowedHosts: [],
  allowedOrigins: [],
  bodyLimit: 4 * 1024 * 1024,
  rejectedTokenStatus: 403,
  // A second less than the 15 that clients and proxies are promised, for timers that run late.
  heartbeatMs: 14_000,
  quickMs: 25,
  pageSize: 200,
  listTtlMs: 60_000,
  direct: true,
} as const satisfies Partial<McpOptions>

export interface McpDeps {
  access: Pick<Access, 'recall' | 'verify'>
  calls: Calls
  log: Log
  options: McpOptions
  /** What other replicas say; hints only. */
  notices: Pick<Notices, 'on'>
  /** Tells the other replicas. */
  notify: (notice: Notice) => Promise<void>
}

/** One authenticated HTTP request, as the parts below the routes see it. */
export interface Exchange {
  caller: Caller
  /** Set while the caller is only recalled; see `CallRequest.recalled`. */
  recalled?: CallRequest['recalled']
  /** The endpoint's toolkit; null for `/mcp`. */
  toolkit: string | null
  /** The caller's session, as a key that no other caller can produce; undefined when the client named none. */
  session: string | undefined
  /** What the client calls itself. */
  client: string | null
  /** Whether the client reads too slowly for messages that may be left out. */
  congested(): boolean
}
