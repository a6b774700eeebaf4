import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { closeServer, createHttpServer } from '../../src/http/index.ts'

const makeServer = () =>
  createHttpServer({
    log: silentLog,
    bodyLimit: 1000,
    requestTimeoutMs: 1000,
    trustedProxies: [],
    ready: async () => undefined,
  })

test('a closing server lets a request end by itself, and its kept-alive connection does not hold it up', async () => {
  const server = makeServer()
  server.get('/slow', async () => {
    await sleep(200)
    return 'done'
  })
  const url = await server.listen({ port: 0 })
  const answer = get(`${url}/slow`)
  await sleep(50)
  const started = performance.now()
  await closeServer(server, { graceMs: 5_000, endRunning: async () => undefined })
  expect(await answer).toBe('done')
  expect(performance.now() - started).toBeLessThan(4_000)
})

test('a request that outlives the grace is ended, and its answer still leaves', async () => {
  const server = makeServer()
  let end: () => void = () => undefined
  server.get('/endless', async () => {
    await new Promise<void>((resolve) => {
      end = resolve
    })
    return 'ended'
  })
  const url = await server.listen({ port: 0 })
  const answer = get(`${url}/endless`)
  await sleep(50)
  await closeServer(server, { graceMs: 50, endRunning: async () => end() })
  expect(await answer).toBe('ended')
})

/** Over a connection that the client keeps open. */
async function get(url: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    request(url, { agent: new Agent({ keepAlive: true }) }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      response.on('end', () => resolve(text))
    })
      .on('error', reject)
      .end()
  })
}
