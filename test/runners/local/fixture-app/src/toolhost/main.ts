/**
 * Stands in for the toolhost: the same argument, the same socket, GET /health, TERM drains. Where it lies:
 * POST /run runs a shell command and answers what it printed, which no toolhost does without a gateway's call.
 */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const settings = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as {
  sandboxUid: string
  generation: number
  socketPath: string
}

const server = createServer((request, response) => {
  response.setHeader('x-toolcrib-sandbox', settings.sandboxUid)
  response.setHeader('x-toolcrib-generation', String(settings.generation))
  if (request.url === '/health') {
    response.end(
      JSON.stringify({
        sandboxUid: settings.sandboxUid,
        generation: settings.generation,
        egress: 'not_probed',
        sources: [],
        running: 0,
        queued: 0,
      }),
    )
    return
  }
  let command = ''
  request.setEncoding('utf8').on('data', (text: string) => {
    command += text
  })
  request.on('end', () => {
    execFile('/bin/sh', ['-c', command], { timeout: 20_000, maxBuffer: 4e6 }, (error, stdout, stderr) => {
      response.end(
        JSON.stringify({ code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr }),
      )
    })
  })
})
server.listen(settings.socketPath)
process.on('SIGTERM', () => process.exit(0))
