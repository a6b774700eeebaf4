import type { IncomingMessage } from 'node:http'
import { AppError } from '../core/index.ts'

/** The body as text; throws `too_large` as soon as it passes `maxBytes`. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const chunks: Buffer[] = []
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= maxBytes) chunks.push(chunk)
    else
      reject(new AppError('too_large', `the request is larger than the ${maxBytes} bytes that are accepted`))
  })
  request.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
  request.once('error', reject)
  request.once('close', () => {
    if (!request.complete) reject(new Error('the request ended before its body was there'))
  })
  return await promise
}
