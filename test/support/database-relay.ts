import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A way to a database on which something may get lost. Where it lies: it is the network, the server is real. */
export interface DatabaseRelay extends AsyncDisposable {
  /** The database, by way of this. */
  url: string
  /** So many connections were made. */
  readonly made: number
  /** What stands is open and silent from now on, as behind a router that forgot it; what comes later passes. */
  silence(): void
  /** The same of the first that sends this text, from there on. */
  silenceAt(text: string): void
  /** The next `times` answers to a COMMIT are lost, and their connections with them. */
  loseCommits(times: number): void
  /** Answers lost so. */
  readonly lost: number
}

interface Way {
  client: Socket
  server: Socket
  silent: boolean
  commits: boolean
}

export async function relayTo(url: string): Promise<DatabaseRelay> {
  const { hostname, port } = new URL(url)
  const ways = new Set<Way>()
  let made = 0
  let losing = 0
  let lost = 0
  let fatal: string | undefined
  const relay = createServer((client) => {
    made += 1
    const server = connect(Number(port), hostname)
    const way: Way = { client, server, silent: false, commits: false }
    ways.add(way)
    const end = () => {
      ways.delete(way)
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) socket.on('error', end).on('close', end)
    client.on('data', (bytes) => {
      const text = bytes.toString('latin1')
      if (fatal !== undefined && text.includes(fatal)) {
        fatal = undefined
        way.silent = true
      }
      if (way.silent) return
      way.commits = /commit/i.test(text)
      server.write(bytes)
    })
    server.on('data', (bytes) => {
      if (way.silent) return
      if (way.commits && losing > 0) {
        losing -= 1
        lost += 1
        return end()
      }
      client.write(bytes)
    })
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const address = relay.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const by = new URL(url)
  by.host = `127.0.0.1:${address.port}`
  return {
    url: by.href,
    get made() {
      return made
    },
    silence() {
      for (const way of ways) way.silent = true
    },
    silenceAt(text) {
      fatal = text
    },
    loseCommits(times) {
      losing = times
    },
    get lost() {
      return lost
    },
    async [Symbol.asyncDispose]() {
      for (const { client } of ways) client.destroy()
      relay.close()
      await once(relay, 'close')
    },
  }
}
