import type { IncomingMessage } from 'node:http'
import { AppError } from '../core/index.ts'

/** The body as text; throws `too_large` as soon as it passes `maxBytes`. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes)
      throw new AppError('too_large', `the request is larger than the ${maxBytes} bytes that are accepted`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
