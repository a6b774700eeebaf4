import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'

/**
 * Makes the head of an event stream leave at once: the SDK's adapter writes it and then waits for the first
 * event, and clients give up on a server that is silent for a minute. `onOk` sees the response just before a
 * head with status 200 leaves.
 */
export function sendHeadersEarly(response: ServerResponse, onOk?: (response: ServerResponse) => void): void {
  const writeHead = response.writeHead.bind(response)
  Object.assign(response, {
    writeHead(status: number, headers: OutgoingHttpHeaders = {}) {
      if (status === 200) onOk?.(response)
      const streams = String(headers['content-type'] ?? '').startsWith('text/event-stream')
      writeHead(status, streams ? { 'x-accel-buffering': 'no', ...headers } : headers)
      if (streams) response.flushHeaders()
      return response
    },
  })
}
