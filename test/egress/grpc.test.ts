import { EventEmitter, once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { createServer as createTls } from 'node:tls'
import {
  type ChannelOptions,
  type Client,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerOptions,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { injectBearer, makeWorld, rule, theSecret, type World } from '../support/egress-world.ts'

const host = 'orders.example.com'
const text = {
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (bytes: Buffer) => bytes.toString(),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => bytes.toString(),
}
const method = (name: string, stream: boolean) => ({
  path: `/orders.Orders/${name}`,
  requestStream: stream,
  responseStream: stream,
  ...text,
})
const service = {
  Get: method('Get', false),
  Fail: method('Fail', false),
  Wait: method('Wait', false),
  Chat: method('Chat', true),
  Squeezed: method('Squeezed', false),
}
/** A status with details, as bytes: not all of them are text. */
const richDetails = Buffer.from([8, 5, 18, 3, 0, 0xff, 0xfe, ...Buffer.from('no such order: é'.repeat(50))])

/** A real gRPC server; TLS is ended before it, for it takes no certificate by name. */
async function startOrders(world: World, options: ServerOptions = {}) {
  const seen: Metadata[] = []
  const waiting = new EventEmitter()
  const server = new Server(options)
  server.addService(service, {
    Get(call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) {
      seen.push(call.metadata)
      const trailers = new Metadata()
      trailers.set('x-cost', '7')
      done(null, `${call.request}: ${String(call.metadata.get('authorization')[0])}`, trailers)
    },
    Fail(_call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) {
      const metadata = new Metadata()
      metadata.set('grpc-status-details-bin', richDetails)
      done({ code: status.NOT_FOUND, details: 'no such order: é ☃ 100%', metadata })
    },
    Squeezed(call: ServerUnaryCall<string, string>, done: sendUnaryData<string>) {
      seen.push(call.metadata)
      const head = new Metadata()
      head.set('grpc-encoding', 'gzip')
      call.sendMetadata(head)
      done(null, call.request)
    },
    Wait(call: ServerUnaryCall<string, string>) {
      waiting.emit('asked')
      call.on('cancelled', () => waiting.emit('cancelled'))
    },
    Chat(call: ServerDuplexStream<string, string>) {
      call.on('data', (line: string) => call.write(`heard ${line}`))
      call.on('end', () => call.end())
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (err, bound) =>
      err === null ? resolve(bound) : reject(err),
    )
  })
  const sockets = new Set<Socket>()
  const tls = createTls(
    {
      ALPNProtocols: ['h2'],
      SNICallback: (name, done) => {
        world.upstreamContext(name).then(
          (context) => done(null, context),
          (err: unknown) => done(err as Error),
        )
      },
    },
    (secured) => {
      const inner = connect(port, '127.0.0.1')
      for (const socket of [secured, inner]) {
        sockets.add(socket)
        socket.on('error', () => undefined)
      }
      secured.pipe(inner).pipe(secured)
    },
  )
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve))
  return {
    port: (tls.address() as AddressInfo).port,
    seen,
    /** Says when a call that is never answered was asked and cancelled. */
    waiting,
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => tls.close(resolve))
    },
  }
}

type Calls = Client & {
  Get(request: string, done: (err: ServiceError | null, answer?: string) => void): NodeJS.EventEmitter
  Fail(request: string, done: (err: ServiceError | null) => void): void
  Wait(request: string, done: (err: ServiceError | null) => void): { cancel(): void }
  Chat(): NodeJS.ReadWriteStream
  Squeezed(request: string, done: (err: ServiceError | null) => void): void
}

/** A client that finds the proxy as programs in a sandbox do, by the environment. */
function ordersClient(world: World, lease: string, port: number, options: ChannelOptions = {}): Calls {
  const before = process.env['grpc_proxy']
  process.env['grpc_proxy'] = `http://orders:${lease}@127.0.0.1:${world.egress.tcpPort}`
  try {
    const Made = makeGenericClientConstructor(service, 'orders.Orders') as unknown as new (
      ...rest: unknown[]
    ) => Calls
    return new Made(`${host}:${port}`, credentials.createSsl(Buffer.from(world.ca)), options)
  } finally {
    if (before === undefined) delete process.env['grpc_proxy']
    else process.env['grpc_proxy'] = before
  }
}

test('gRPC works through the proxy: unary, with trailers, errors, and both ways at once', async () => {
  await using world = await makeWorld()
  await using orders = await startOrders(world)
  await world.setRules([
    rule(host, orders.port, { methods: ['POST'], paths: ['/orders.Orders'], inject: injectBearer }),
  ])
  // Over TCP, as a gRPC client knows it; a lease is good from its own sandbox's address only.
  const { lease } = await world.addLease({ from: '127.0.0.1' })
  const client = ordersClient(world, lease, orders.port)
  let trailers: Metadata | undefined
  const got = await new Promise<string>((resolve, reject) => {
    const call = client.Get('first', (err, answer) => (err === null ? resolve(answer ?? '') : reject(err)))
    call.on('status', (ended: { metadata: Metadata }) => {
      trailers = ended.metadata
    })
  })
  expect(got).toMatch(/^first: Bearer \*{20}/)
  expect(orders.seen[0]?.get('authorization')).toEqual([`Bearer ${theSecret}`])
  expect(trailers?.get('x-cost')).toEqual(['7'])

  const failed = await new Promise<ServiceError | null>((resolve) => client.Fail('x', resolve))
  expect(failed).toMatchObject({ code: status.NOT_FOUND, details: 'no such order: é ☃ 100%' })
  expect(failed?.metadata.get('grpc-status-details-bin')).toEqual([richDetails])

  const chat = client.Chat()
  const heard: string[] = []
  chat.on('data', (line: string) => heard.push(line))
  // What ends as the credential begins is told too before anything else is said.
  for (const line of ['one', 'two', theSecret.slice(0, 6), 'three']) {
    chat.write(line as never)
    await expect.poll(() => heard.at(-1)).toBe(`heard ${line}`)
  }
  chat.end()
  await new Promise((resolve) => chat.once('end', resolve))
  client.close()
})

test('a gRPC method that no rule names is refused, and the client is told so', async () => {
  await using world = await makeWorld()
  await using orders = await startOrders(world)
  await world.setRules([rule(host, orders.port, { methods: ['POST'], paths: ['/orders.Orders/Get'] })])
  // Over TCP, as a gRPC client knows it; a lease is good from its own sandbox's address only.
  const { lease } = await world.addLease({ from: '127.0.0.1' })
  const client = ordersClient(world, lease, orders.port)
  const failed = await new Promise<ServiceError | null>((resolve) => client.Fail('x', resolve))
  expect(failed?.code).toBe(status.PERMISSION_DENIED)
  const asked = `https://${host}:${orders.port}/orders.Orders/Fail`
  expect(failed?.details).toBe(
    `The egress proxy refused POST ${asked} (path_not_allowed): ask an admin: toolcrib egress allow orders POST ${asked}`,
  )
  expect(orders.seen).toEqual([])
  client.close()
})

test('a gRPC call that its server has acted on is not sent again by a client that tries again by itself', async () => {
  await using world = await makeWorld()
  await using orders = await startOrders(world)
  await world.setRules([rule(host, orders.port, { methods: ['POST'], inject: injectBearer })])
  const { lease } = await world.addLease({ from: '127.0.0.1' })
  const retryPolicy = {
    maxAttempts: 3,
    initialBackoff: '0.01s',
    maxBackoff: '0.01s',
    backoffMultiplier: 1,
    retryableStatusCodes: ['UNAVAILABLE'],
  }
  const client = ordersClient(world, lease, orders.port, {
    'grpc.service_config': JSON.stringify({
      loadBalancingConfig: [],
      methodConfig: [{ name: [{}], retryPolicy }],
    }),
  })
  // Compressed, the answer cannot be searched.
  const failed = await new Promise<ServiceError | null>((resolve) => client.Squeezed('x', resolve))
  expect(failed?.code).toBe(status.UNAVAILABLE)
  expect(failed?.details).toContain('(answer_encoded)')
  expect(orders.seen).toHaveLength(1)
  client.close()
})

test('a gRPC call that its client gives up is given up at the server', async () => {
  await using world = await makeWorld()
  await using orders = await startOrders(world)
  await world.setRules([rule(host, orders.port, { methods: ['POST'], inject: injectBearer })])
  const { lease } = await world.addLease({ from: '127.0.0.1' })
  const client = ordersClient(world, lease, orders.port)
  const heard = (what: string) => once(orders.waiting, what, { signal: AbortSignal.timeout(20_000) })
  const [asked, cancelled] = [heard('asked'), heard('cancelled')]
  const { promise, resolve } = Promise.withResolvers<ServiceError | null>()
  const call = client.Wait('x', resolve)
  await asked
  call.cancel()
  expect((await promise)?.code).toBe(status.CANCELLED)
  await cancelled
  client.close()
})

test('calls to a server that ends each of its connections soon all come to their answer, once each', async () => {
  await using world = await makeWorld()
  await using orders = await startOrders(world, { 'grpc.max_connection_age_ms': 100 })
  await world.setRules([
    rule(host, orders.port, { methods: ['POST'], paths: ['/orders.Orders'], inject: injectBearer }),
  ])
  const { lease } = await world.addLease({ from: '127.0.0.1' })
  const client = ordersClient(world, lease, orders.port)
  const failed: string[] = []
  let asked = 0
  const call = () =>
    new Promise<void>((resolve) => {
      asked += 1
      client.Get('x', (err) => {
        if (err !== null) failed.push(`${err.code} ${err.details}`)
        resolve()
      })
    })
  const until = performance.now() + 3_000
  const goOn = async () => {
    while (performance.now() < until) await call()
  }
  await Promise.all(Array.from({ length: 10 }, goOn))
  expect(failed).toEqual([])
  expect(orders.seen).toHaveLength(asked)
  client.close()
})
