import type { Command } from 'commander'
import type { z } from 'zod'
import { ask } from './client.ts'
import { findConnection } from './connection.ts'
import type { CliIo } from './io.ts'

type Options = Record<string, string | boolean | undefined>

/** What a command has at hand once it runs. */
export interface Session {
  args: string[]
  options: Options
  io: CliIo
  get<S extends z.ZodType>(path: string, shape: S): Promise<z.output<S>>
  post<S extends z.ZodType>(path: string, body: object, shape: S): Promise<z.output<S>>
  put<S extends z.ZodType>(path: string, body: object, shape: S): Promise<z.output<S>>
  remove<S extends z.ZodType>(path: string, shape: S): Promise<z.output<S>>
  /** The answer itself with `--json`, else what people read. Standard output carries nothing else. */
  show(answer: unknown, forPeople: () => string): void
  /** A sentence for people, on standard error. */
  say(sentence: string): void
}

/** Gives a command its example, the options that find the server, and what it does once connected. */
export function remote(
  command: Command,
  io: CliIo,
  example: string,
  run: (session: Session) => Promise<void>,
): Command {
  return command
    .option('--url <url>', 'the server (else TOOLCRIB_URL, else the one on this machine)')
    .option(
      '--key-file <path>',
      'file with the admin key (else TOOLCRIB_ADMIN_KEY_FILE or TOOLCRIB_ADMIN_KEY)',
    )
    .option('--json', 'print the answer as JSON')
    .addHelpText('after', `\nExample:\n  $ toolcrib ${example}`)
    .action(async () => {
      const options = command.opts<Options>()
      const connection = await findConnection({ url: text(options.url), keyFile: text(options.keyFile) }, io)
      await run({
        args: command.args,
        options,
        io,
        get: (path, shape) => ask(connection, { method: 'GET', path }, shape),
        post: (path, body, shape) => ask(connection, { method: 'POST', path, body }, shape),
        put: (path, body, shape) => ask(connection, { method: 'PUT', path, body }, shape),
        remove: (path, shape) => ask(connection, { method: 'DELETE', path }, shape),
        show(answer, forPeople) {
          io.stdout.write(options.json === true ? `${JSON.stringify(answer, null, 2)}\n` : forPeople())
        },
        say: (sentence) => void io.stderr.write(`${sentence}\n`),
      })
    })
}

/** An option's value, when it was given one. */
export function text(option: string | boolean | undefined): string | undefined {
  return typeof option === 'string' ? option : undefined
}

/** A path with its parameters escaped, and a query of those values that were given. */
export function at(parts: TemplateStringsArray, ...values: (string | undefined)[]): string {
  return parts
    .map((part, i) => part + (i < values.length ? encodeURIComponent(values[i] ?? '') : ''))
    .join('')
}

export function query(values: Record<string, string | undefined>): string {
  const given = Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`
}
