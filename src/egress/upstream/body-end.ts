import type { Readable } from 'node:stream'

/**
 * Tells once that a body has been read to its end, at once where it has been already: Node ends an empty one of HTTP/2
 * as it comes, and nobody may have listened yet.
 */
export function onceEnded(body: Readable, ended: () => void): void {
  if (body.readableEnded) ended()
  else body.once('end', ended)
}
