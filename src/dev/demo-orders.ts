import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { randomText, Secret } from '../core/index.ts'
import { demoCertificate } from './demo-certificate.ts'

/**
 * The demo upstream: an HTTPS API for orders that refuses every request without its key. It stands for any API of
 * the company: nothing about it knows of Toolcrib.
 *
 *   GET  /v1/orders        list      GET /v1/orders/:id   one      POST /v1/orders {item, quantity}   make one
 */
export interface DemoOrders {
  readonly host: string
  readonly port: number
  readonly key: Secret
  /** PEM of the certificate authority that the egress proxy must trust to reach it. */
  readonly ca: string
  /** How many requests came without the right key: what an attacker in a sandbox would get. */
  refused(): number
  [Symbol.asyncDispose](): Promise<void>
}

interface Order {
  id: string
  item: string
  quantity: number
}

export const demoHost = 'orders.crib.test'

/** Listens on loopback at `port`, or at a free one when that is taken. */
export async function startDemoOrders(options: { port: number; key?: Secret }): Promise<DemoOrders> {
  const key = options.key ?? new Secret(`ord_live_${randomText(32)}`)
  const certificate = await demoCertificate(demoHost)
  const orders = new Map<string, Order>([
    ['o-1001', { id: 'o-1001', item: 'brass token', quantity: 12 }],
    ['o-1002', { id: 'o-1002', item: 'torque wrench', quantity: 1 }],
    ['o-1003', { id: 'o-1003', item: 'calliper', quantity: 3 }],
  ])
  let refused = 0

  const server = createServer(
    { key: certificate.key, cert: certificate.certificate },
    (request, response) => {
      const answer = (status: number, body: unknown) => {
        response.writeHead(status, { 'content-type': 'application/json' })
        response.end(JSON.stringify(body))
      }
      if (request.headers.authorization !== `Bearer ${key.reveal()}`) {
        refused += 1
        request.resume()
        return answer(401, { error: 'this API needs its key' })
      }
      const [, version, collection, id] = new URL(request.url ?? '/', 'https://local').pathname.split('/')
      if (version !== 'v1' || collection !== 'orders') return answer(404, { error: 'no such path' })
      if (request.method === 'GET') {
        if (id === undefined) return answer(200, { orders: [...orders.values()] })
        const order = orders.get(id)
        return order === undefined ? answer(404, { error: `no order ${id}` }) : answer(200, order)
      }
      if (request.method !== 'POST' || id !== undefined) return answer(405, { error: 'use GET or POST' })
      let text = ''
      request.setEncoding('utf8')
      request.on('data', (chunk: string) => {
        text += chunk
        if (text.length > 10_000) request.destroy()
      })
      request.on('end', () => {
        const draft = readDraft(text)
        if (draft === undefined)
          return answer(400, { error: 'send {"item": text, "quantity": whole number above 0}' })
        const order = { id: `o-${1001 + orders.size}`, ...draft }
        orders.set(order.id, order)
        answer(201, order)
      })
    },
  )

  const port = await listenOnLoopback(server, options.port)
  return {
    host: demoHost,
    port,
    key,
    ca: certificate.ca,
    refused: () => refused,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

function readDraft(text: string): Omit<Order, 'id'> | undefined {
  try {
    const { item, quantity } = JSON.parse(text) as Partial<Order>
    if (typeof item !== 'string' || item === '' || !Number.isInteger(quantity) || Number(quantity) < 1)
      return undefined
    return { item, quantity: Number(quantity) }
  } catch {
    return undefined
  }
}

/** The port it got: the wanted one, or any free one when that is taken. */
async function listenOnLoopback(server: ReturnType<typeof createServer>, wanted: number): Promise<number> {
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', () => {
        server.off('error', reject)
        resolve()
      })
    })
  await listen(wanted).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') throw error
    await listen(0)
  })
  return (server.address() as AddressInfo).port
}
