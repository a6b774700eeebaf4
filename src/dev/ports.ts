import { type AddressInfo, createServer } from 'node:net'

/** `wanted` if it is free on loopback, else any free port; 0 asks for any. */
export async function pickPort(wanted: number): Promise<number> {
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
