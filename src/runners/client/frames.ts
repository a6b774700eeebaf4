import { StringDecoder } from 'node:string_decoder'
import { CallFrame } from '../../wire/index.ts'
import { parse } from './request.ts'

/**
 * Cuts an NDJSON stream into frames. Returns a function to feed; `unreadable` is called, once, for a line that is
 * no frame or is longer than `maxBytes`, and nothing is delivered after it.
 */
export function frameReader(options: {
  maxBytes: number
  frame: (frame: CallFrame) => void
  unreadable: (why: string) => void
}): (chunk: Buffer) => void {
  const decoder = new StringDecoder('utf8')
  let parts: string[] = []
  let length = 0
  let broken = false

  function giveUp(why: string): void {
    broken = true
    parts = []
    options.unreadable(why)
  }

  function deliver(line: string): void {
    const parsed = CallFrame.safeParse(parse(line))
    if (parsed.success) options.frame(parsed.data)
    else giveUp('the sandbox sent a line that is no frame of a call')
  }

  return (chunk) => {
    let text = decoder.write(chunk)
    while (!broken) {
      const end = text.indexOf('\n')
      const part = end === -1 ? text : text.slice(0, end)
      parts.push(part)
      length += part.length
      if (length > options.maxBytes) return giveUp(`the sandbox sent a line over ${options.maxBytes} bytes`)
      if (end === -1) return
      const line = parts.length === 1 ? part : parts.join('')
      parts = []
      length = 0
      text = text.slice(end + 1)
      deliver(line)
    }
  }
}
