import { readFile, stat } from 'node:fs/promises'
import { z } from 'zod'
import { Secret } from '../core/index.ts'
import { CliFailure } from './failure.ts'
import type { CliIo } from './io.ts'

export interface Connection {
  /** Origin and perhaps a path, without `/admin/v1` and without a slash at the end. */
  base: string
  key: Secret
}

const connectionFile = z.object({ url: z.string(), adminKey: z.string() })

/**
 * Which server, and with which key: options first, then the environment, then the file that `npm run dev`
 * left here. The key of that file is only ever sent to the server of that file.
 */
export async function findConnection(
  options: { url?: string | undefined; keyFile?: string | undefined },
  io: CliIo,
): Promise<Connection> {
  const named = options.url ?? io.environment.url
  const given = await givenKey(options.keyFile, io)
  const left = named !== undefined && given !== undefined ? undefined : await readConnectionFile(io)
  const url = named ?? left?.url
  if (url === undefined) {
    throw new CliFailure(
      'usage',
      `No server was named. Give --url and --key-file, or set TOOLCRIB_URL and TOOLCRIB_ADMIN_KEY_FILE${beside(io)}.`,
    )
  }
  const base = parseBase(url)
  const key = given ?? (left !== undefined && parseBase(left.url) === base ? left.adminKey : undefined)
  if (key === undefined) {
    throw new CliFailure(
      'usage',
      `No admin key was given for ${base}. Give --key-file, or set TOOLCRIB_ADMIN_KEY_FILE or TOOLCRIB_ADMIN_KEY.`,
    )
  }
  if (!/^tca_[0-9A-Za-z_]{1,200}$/.test(key)) {
    throw new CliFailure(
      'usage',
      'The admin key that was given is not one: it should be "tca_…" and nothing else.',
    )
  }
  if (base.startsWith('http:') && !isLoopback(new URL(base).hostname)) {
    io.stderr.write(`toolcrib: warning: ${base} is not https; the admin key travels in clear\n`)
  }
  return { base, key: new Secret(key) }
}

/** The third way, where there is one: only `npm run dev` leaves such a file, so nobody looks for one of `serve`. */
function beside({ connectionFile: path }: CliIo): string {
  return path === undefined ? '' : `, or run this where \`npm run dev\` has left ${path}`
}

async function givenKey(keyFile: string | undefined, io: CliIo): Promise<string | undefined> {
  if (keyFile !== undefined) return await readKeyFile(keyFile, io)
  if (io.environment.adminKey !== undefined) return io.environment.adminKey.trim()
  if (io.environment.adminKeyFile !== undefined) return await readKeyFile(io.environment.adminKeyFile, io)
  return undefined
}

async function readKeyFile(path: string, io: CliIo): Promise<string> {
  try {
    const { mode } = await stat(path)
    if ((mode & 0o077) !== 0) {
      io.stderr.write(`toolcrib: warning: others can read ${path}; make it yours alone with chmod 600\n`)
    }
    return (await readFile(path, 'utf8')).trim()
  } catch (cause) {
    throw new CliFailure('usage', `The key file ${path} cannot be read (${codeOf(cause)}).`, { cause })
  }
}

async function readConnectionFile(io: CliIo): Promise<z.infer<typeof connectionFile> | undefined> {
  if (io.connectionFile === undefined) return undefined
  let text: string
  try {
    text = await readFile(io.connectionFile, 'utf8')
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined
    throw new CliFailure('usage', `${io.connectionFile} cannot be read (${codeOf(cause)}).`, { cause })
  }
  try {
    return connectionFile.parse(JSON.parse(text))
  } catch {
    // Neither the text nor what is wrong with it is shown: there is a key in it.
    throw new CliFailure(
      'usage',
      `${io.connectionFile} is damaged; start the server again or give --url and --key-file.`,
    )
  }
}

function parseBase(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new CliFailure(
      'usage',
      `${JSON.stringify(text)} is no address of a server; use e.g. https://toolcrib.example.com`,
    )
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '').replace(/\/admin(\/v1)?$/, '')}`
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
