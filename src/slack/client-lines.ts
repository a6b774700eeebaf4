import { shellWord } from '../core/index.ts'

/** One thing to paste, for one client. */
export interface ClientLine {
  client: string
  /** Where it goes, in a few words; empty for a shell. */
  where: string
  /** Exactly what to paste. */
  text: string
  /** What a person must know besides; empty when nothing. */
  note: string
}

/** Tool names are shown to models as `mcp__<name>__<tool>`, at most 64 characters; tools may take 40. */
const longestName = 17

/** The name under which a client knows this endpoint. */
export function connectionName(serverName: string, toolkit: string | null): string {
  if (toolkit === null) return serverName.slice(0, longestName)
  const full = `${serverName}-${toolkit}`
  return (full.length <= longestName ? full : toolkit.slice(0, longestName)).replace(/-+$/, '')
}

/** The address a token opens: `/mcp`, or its toolkit's own. */
export function endpointUrl(publicUrl: string, toolkit: string | null): string {
  const base = publicUrl.replace(/\/+$/, '')
  return toolkit === null ? `${base}/mcp` : `${base}/mcp/toolkits/${toolkit}`
}

/**
 * The exact lines for the six clients people use. Each form is the one its client documents: Amp wants
 * `KEY=VALUE`, Codex reads the token from a variable, VS Code asks for it once.
 */
export function clientLines(connection: { name: string; url: string; token: string }): ClientLine[] {
  const { name, token } = connection
  const url = shellWord(connection.url)
  const variable = `${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}_TOKEN`
  return [
    {
      client: 'Claude Code',
      where: '',
      text: `claude mcp add --transport http --scope user ${name} ${url} --header "Authorization: Bearer ${token}"`,
      note: '',
    },
    {
      client: 'Amp',
      where: '',
      text: `amp mcp add ${name} --header "Authorization=Bearer ${token}" ${url}`,
      note: '',
    },
    {
      client: 'Codex',
      where: '',
      text: `export ${variable}=${token}\ncodex mcp add ${name} --url ${url} --bearer-token-env-var ${variable}`,
      note: 'Codex reads the variable at every start: keep the first line in your shell profile.',
    },
    {
      client: 'Gemini CLI',
      where: '',
      text: `gemini mcp add --scope user --transport http --header "Authorization: Bearer ${token}" ${name} ${url}`,
      note: '',
    },
    {
      client: 'VS Code',
      where: '.vscode/mcp.json',
      text: [
        '{',
        `  "inputs": [${inline({ type: 'promptString', id: `${name}-token`, description: `${name} token`, password: true })}],`,
        `  "servers": {`,
        `    ${inline(name)}: ${inline({ type: 'http', url: connection.url, headers: { Authorization: `Bearer \${input:${name}-token}` } })}`,
        '  }',
        '}',
      ].join('\n'),
      note: 'VS Code asks for the token once and keeps it; the file itself can be committed.',
    },
    {
      client: 'Cursor',
      where: '~/.cursor/mcp.json',
      text: [
        '{',
        '  "mcpServers": {',
        `    ${inline(name)}: ${inline({ url: connection.url, headers: { Authorization: `Bearer ${token}` } })}`,
        '  }',
        '}',
      ].join('\n'),
      note: '',
    },
  ]
}

/** JSON on one line, with the spaces a person would put. */
function inline(value: unknown): string {
  return JSON.stringify(value, undefined, 1).replace(/\n\s*/g, ' ')
}
