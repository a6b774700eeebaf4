/** workspace: run commands, read, write and list files in the person's persistent home, as an MCP server on stdio. */
import { flushCompileCache } from 'node:module'
import { McpServer } from '@modelcontextprotocol/server'
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio'
import { z } from 'zod'
import { type CommandResult, killCommands, runCommand } from './command.ts'
import { listFolder, readText, writeText } from './files.ts'
import { inHome, RefusedPath } from './home.ts'

const server = new McpServer({ name: 'workspace', version: '1.0.0' })

interface TextResult {
  [member: string]: unknown
  content: { type: 'text'; text: string }[]
  isError?: boolean
}

/** A tool's text, or the refusal's when the path leads nowhere good. */
async function asText(work: () => Promise<string>): Promise<TextResult> {
  try {
    return { content: [{ type: 'text', text: await work() }] }
  } catch (error) {
    if (!(error instanceof RefusedPath)) throw error
    return { content: [{ type: 'text', text: error.message }], isError: true }
  }
}

server.registerTool(
  'run',
  {
    title: 'Run a command',
    description:
      'Runs a shell command in your persistent home and returns its output. At most 256 KiB of each stream are kept.',
    inputSchema: z.object({
      command: z.string().min(1).describe('A command line for /bin/sh.'),
      folder: z.string().default('.').describe('Where to run it, relative to the home.'),
      timeoutSeconds: z.number().int().min(1).max(3_600).default(120),
    }),
    annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: true },
  },
  async ({ command, folder, timeoutSeconds }, context) => {
    const { signal, notify, _meta } = context.mcpReq
    const progressToken = _meta?.progressToken
    const where = await inHome(folder).catch((error: unknown) => error)
    if (where instanceof RefusedPath) return asText(() => Promise.reject(where))
    if (typeof where !== 'string') throw where
    const result = await runCommand({
      command,
      folder: where,
      timeoutMs: timeoutSeconds * 1_000,
      signal,
      progressed(progress, message) {
        if (progressToken === undefined) return
        // A progress line that cannot be sent any more is nobody's loss.
        notify({ method: 'notifications/progress', params: { progressToken, progress, message } }).catch(
          () => undefined,
        )
      },
    })
    return describe(result, timeoutSeconds)
  },
)

server.registerTool(
  'read_file',
  {
    title: 'Read a file',
    description: 'Returns the text of a file in your home, 256 KiB at a time.',
    inputSchema: z.object({
      path: z.string().min(1),
      offset: z.number().int().min(0).default(0).describe('The byte to begin at.'),
    }),
    annotations: { readOnlyHint: true, openWorldHint: false },
  },
  ({ path, offset }) => asText(() => readText(path, offset)),
)

server.registerTool(
  'write_file',
  {
    title: 'Write a file',
    description:
      'Writes a text file in your home, making its folders; it replaces the file unless told to append.',
    inputSchema: z.object({
      path: z.string().min(1),
      content: z.string(),
      append: z.boolean().default(false),
    }),
    annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false, openWorldHint: false },
  },
  ({ path, content, append }) => asText(() => writeText(path, content, append)),
)

server.registerTool(
  'list_files',
  {
    title: 'List files',
    description: 'Lists a folder of your home: the size and name of each entry, folders with a slash.',
    inputSchema: z.object({ path: z.string().default('.') }),
    annotations: { readOnlyHint: true, openWorldHint: false },
  },
  ({ path }) => asText(() => listFolder(path)),
)

function describe(result: CommandResult, timeoutSeconds: number): TextResult {
  const how = result.timedOut
    ? `stopped after ${timeoutSeconds} s`
    : result.signal === null
      ? `exit code ${result.code}`
      : `ended by ${result.signal}`
  const parts = [how, section('stdout', result.stdout), section('stderr', result.stderr)]
  return {
    content: [{ type: 'text', text: parts.filter((part) => part !== '').join('\n') }],
    ...(result.code !== 0 && { isError: true }),
  }
}

function section(name: string, text: string): string {
  return text === '' ? '' : `--- ${name}\n${text}`
}

function stop(): void {
  killCommands()
  process.exit(0)
}
process.once('SIGTERM', stop)
process.once('SIGINT', stop)
// Whoever started this program is gone; commands must not outlive it.
process.stdin.once('end', stop)
await server.connect(new StdioServerTransport())
// Compiled code is kept at once: a sandbox may be ended without a last word.
flushCompileCache()
