import { isCertificatePem, isKeyPem, Secret } from '../core/index.ts'
import { CliFailure } from './failure.ts'
import type { CliIo } from './io.ts'

const maxBytes = 65_536
/** What some terminals put before and behind a text that is pasted. */
const pasteMarks = ['\u001b[200~', '\u001b[201~']

/**
 * The value of a credential: typed at a terminal without echo, or everything that comes through a pipe less exactly
 * one line break at its end; a private key in PEM keeps its own. Never an argument: those are in the shell's history
 * and in everybody's `ps`.
 */
export async function readValue(name: string, io: CliIo): Promise<{ value: Secret; stripped: boolean }> {
  const typed = io.stdin.isTTY === true && io.stdin.setRawMode !== undefined
  const text = typed ? await prompt(`Value of ${name} (it will not be shown): `, io) : await readAll(io)
  const stripped = !typed && text.endsWith('\n')
  const value = stripped ? text.slice(0, -1) : text
  if (value === '') throw refuse('it is empty')
  if (isKeyPem(value)) return { value: new Secret(value), stripped: false }
  if (isCertificatePem(value))
    throw refuse('it is a certificate without its key; give the private key before the certificate')
  if (/[\r\n]/.test(value)) throw refuse('it has a line break inside, or a carriage return at its end')
  if (value.includes('\0')) throw refuse('it has a NUL character inside')
  return { value: new Secret(value), stripped }
}

function refuse(why: string): CliFailure {
  return new CliFailure('usage', `The value was refused, nothing was set: ${why}.`)
}

async function readAll(io: CliIo): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as string | Buffer)
    size += bytes.length
    if (size > maxBytes) throw refuse(`it is longer than ${maxBytes} bytes`)
    chunks.push(bytes)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
  } catch {
    throw refuse('it is not UTF-8')
  }
}

/** Reads one line key by key; backspace corrects, Ctrl-C stops. */
async function prompt(question: string, io: CliIo): Promise<string> {
  const { stdin, stderr } = io
  stderr.write(question)
  stdin.setRawMode?.(true)
  try {
    return await new Promise<string>((resolve, reject) => {
      const decoder = new TextDecoder()
      let text = ''
      const take = (chunk: Buffer | string) => {
        const typed = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
        const keys = pasteMarks.reduce((left, mark) => left.replaceAll(mark, ''), typed)
        // An arrow or function key: nothing of a value.
        if (keys.startsWith('\u001b')) return
        const list = Array.from(keys)
        for (const [i, key] of list.entries()) {
          if (key === '\u0003')
            return done(() => reject(new CliFailure('failed', 'Stopped; nothing was set.')))
          if (key === '\r' || key === '\n' || key === '\u0004') {
            // More after the line break was pasted: taking the first line only would cut a key in silence.
            const rest = list.slice(i + 1).join('')
            return done(() => resolve(/^[\r\n]?$/.test(rest) ? text : `${text}\n${rest}`))
          }
          if (key === '\u007f' || key === '\b') text = Array.from(text).slice(0, -1).join('')
          else text += key
        }
      }
      const ended = () => done(() => resolve(text))
      const done = (settle: () => void) => {
        stdin.off('data', take).off('end', ended)
        settle()
      }
      stdin.on('data', take).on('end', ended)
      stdin.resume()
    })
  } finally {
    stdin.setRawMode?.(false)
    stdin.pause()
    stderr.write('\n')
  }
}
