// Preloaded into contestants that have no option for the address they listen on: they get loopback.
import { Server } from 'node:net'

const { listen } = Server.prototype as unknown as { listen: (this: Server, ...given: unknown[]) => Server }
Object.assign(Server.prototype, {
  listen(this: Server, ...given: unknown[]) {
    const [port, next] = given
    if (typeof port === 'number' && typeof next !== 'string') given.splice(1, 0, '127.0.0.1')
    return listen.apply(this, given)
  },
})
