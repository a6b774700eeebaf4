import { type AddressInfo, createServer } from 'node:net'

/**
 * `wanted` if it is free on loopback, else any free port; 0 asks for any. For programs that must be told their
 * port before they listen; whoever can, listens on 0 instead, because the port may be taken by the time it is used.
 */
export async function freePort(wanted = 0): Promise<number> {
  for (const port of [wanted, 0]) {
    const server = createServer()
    const got = await new Promise<number | undefined>((resolve) => {
      server.once('error', () => resolve(undefined))
      server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
    })
    await new Promise((done) => server.close(done))
    if (got !== undefined) return got
  }
  return wanted
}
