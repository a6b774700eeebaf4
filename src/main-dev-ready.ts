import { relative } from 'node:path'
import { noIsolation, red } from './app-words.ts'
import type { Isolation } from './runners/index.ts'

/** What a script is told on one line when everything runs; `docs/reference/cli.md` explains each member. */
export interface Ready {
  web: string
  mcp: string
  admin: string
  adminKey: string
  /** File with the CA that sandboxes trust, PEM: the egress proxy's. */
  ca: string
  egressSocket: string
  demo: { url: string; ca: string }
  isolation: Isolation
  folder: string
  pids: { gateway: number; egress: number; database: number | null }
}

/** What a person is told. Lines are plain text; at a terminal what is dangerous is red. `why`: there is no isolation. */
export function welcome(ready: Ready, why: string): string {
  const folder = relative(process.cwd(), ready.folder)
  const sandboxes =
    ready.isolation === 'none'
      ? [
          '',
          ...[noIsolation, why].filter((line) => line !== '').map((line) => `  ${red(line, process.stdout)}`),
        ]
      : [`  Sandboxes      ${ready.isolation}`]
  return [
    '',
    `  Toolcrib is ready. Open  ${ready.web}`,
    '  You are Alice there: type /mcp-token, copy the line for your client, and use it.',
    '',
    `  MCP endpoint   ${ready.mcp}`,
    '  From a shell   npm run --silent toolcrib -- tokens issue --for alice',
    `  Data           ${folder.startsWith('..') ? ready.folder : folder}; the next start finds it again`,
    '  Stop           Ctrl-C. To forget everything: npm run dev -- --reset',
    ...sandboxes,
    '',
    '',
  ].join('\n')
}
