/** mockttp as its manual shows it: passes everything through and writes one header. Recording is off. */
import { createRequire } from 'node:module'
import { credential, hasCredential } from './names.ts'

interface Request {
  url: string
  headers: Record<string, string | string[] | undefined>
}
interface Mockttp {
  generateCACertificate: (options?: object) => Promise<{ key: string; cert: string }>
  getLocal: (options: object) => {
    start(port: object): Promise<void>
    port: number
    forAnyRequest(): { thenPassThrough(options: object): Promise<unknown> }
  }
}

const [upstreamCa = ''] = process.argv.slice(2)
const require = createRequire(new URL('../peers/package.json', import.meta.url))
const { generateCACertificate, getLocal } = require('mockttp') as Mockttp
const https = await generateCACertificate()
const server = getLocal({ https, recordTraffic: false, http2: false })
await server.start({ startPort: 20_000, endPort: 29_999 })
await server.forAnyRequest().thenPassThrough({
  additionalTrustedCAs: [{ cert: upstreamCa }],
  beforeRequest: ({ url, headers }: Request) =>
    hasCredential(new URL(url).hostname) ? { headers: { ...headers, authorization: credential } } : {},
})
process.stdout.write(`${JSON.stringify({ port: server.port, ca: https.cert })}\n`)
