import { createSocket } from 'node:dgram'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { sandboxSpec, World } from '../../runners/local/gateway.ts'
import { kinds } from '../../runners/local/kinds.ts'

/**
 * Ways past the proxy from inside a real sandbox. Nothing is sent: its network namespace has no interface but its own
 * loopback, so the kernel has no route, and 192.0.2.0/24 and 2001:db8::/32 are nobody's besides.
 */

/** Programs of their own, each for one way out; what one prints, `open` or the error's code, is its answer to the test. */
const tries = {
  tcp: `require('net').connect({host:'192.0.2.1',port:443}).on('connect',()=>console.log('open')).on('error',(e)=>console.log(e.code))`,
  ipv6: `require('net').connect({host:'2001:db8::1',port:443}).on('connect',()=>console.log('open')).on('error',(e)=>console.log(e.code))`,
  metadata: `require('net').connect({host:'169.254.169.254',port:80}).on('connect',()=>console.log('open')).on('error',(e)=>console.log(e.code))`,
  udp: `const s=require('dgram').createSocket('udp4');s.send('x',443,'192.0.2.1',(e)=>{console.log(e?e.code:'sent');s.close()})`,
  dns: `require('dns').resolve4('example.com',(e)=>console.log(e?e.code:'resolved'))`,
  lookup: `require('dns').lookup('example.com',(e)=>console.log(e?e.code:'resolved'))`,
}

for (const { title, isolation, userId, options } of kinds) {
  test(
    `row 37: without the proxy nothing answers, ${title}: no raw socket, UDP, IPv6, DNS, ICMP, neighbour or Docker`,
    options,
    async () => {
      await using world = new World(isolation, userId)
      const gateway = await world.gateway()
      const facts = await gateway.start(sandboxSpec())
      const inside = async (command: string) => (await gateway.run(facts, command)).stdout.trim()
      const unset =
        'env -u HTTPS_PROXY -u HTTP_PROXY -u ALL_PROXY -u NODE_USE_ENV_PROXY -u https_proxy -u http_proxy -u all_proxy'
      for (const [way, program] of Object.entries(tries)) {
        const printed = await inside(`${unset} timeout 10 node -e "${program}"`)
        expect([way, printed]).toEqual([
          way,
          expect.stringMatching(
            /^(?:ENETUNREACH|EADDRNOTAVAIL|EAI_AGAIN|ENOTFOUND|ECONNREFUSED|EPERM|ETIMEOUT|ENODATA|ESERVFAIL)$/,
          ),
        ])
      }
      // What listens on the machine's loopback is not there, by TCP or UDP.
      const host = createServer((socket) => socket.end('host'))
      const datagrams = createSocket('udp4')
      let heard = 0
      datagrams.on('message', () => (heard += 1))
      await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
      await new Promise<void>((resolve) => datagrams.bind(0, '127.0.0.1', resolve))
      const { port } = host.address() as AddressInfo
      // Prints what it met, as the programs above.
      const dial = `require('net').connect(${port},'127.0.0.1').on('connect',()=>console.log('open')).on('error',(e)=>console.log(e.code))`
      expect(await inside(`node -e "${dial}"`)).toBe('ECONNREFUSED')
      const datagram = `const s=require('dgram').createSocket('udp4');s.send('x',${datagrams.address().port},'127.0.0.1',()=>s.close())`
      await inside(`node -e "${datagram}"`)
      expect(heard).toBe(0)
      // ICMP, by a socket of ping's kind and by a raw one, and frames by hand: no socket, or no route for what it sends.
      const address = 'pack_sockaddr_in(0, inet_aton("192.0.2.1"))'
      const sends = ([family, type, protocol]: readonly string[]) =>
        `perl -MSocket -e '$! = 0; print socket(S, ${family}, ${type}, ${protocol}) && send(S, "\\x08\\x00\\xf7\\xff\\x00\\x00\\x00\\x00", 0, ${address}) ? "sent" : $!'`
      for (const kind of [
        ['PF_INET', 'SOCK_DGRAM', '1'],
        ['PF_INET', 'SOCK_RAW', '1'],
        ['17', 'SOCK_RAW', '768'],
      ])
        expect([kind, await inside(sends(kind))]).toEqual([
          kind,
          expect.stringMatching(/^(?:Permission denied|Operation not permitted|Network is unreachable)$/),
        ])
      // No interface but loopback, nobody's capabilities, nobody else's sockets.
      expect(await inside(`sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev`)).toBe('lo')
      expect(await inside('grep CapEff /proc/self/status')).toMatch(/^CapEff:\s*0{16}$/)
      expect(await inside('ls /var/run/docker.sock /run/docker.sock /run/containerd 2>/dev/null; true')).toBe(
        '',
      )
      expect(await inside('ls /run/egress /run/toolcrib 2>/dev/null | sort -u | tr "\\n" " "')).not.toMatch(
        /r-/,
      )
      await new Promise((resolve) => host.close(resolve))
      datagrams.close()
    },
  )
}
