import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { certificateBundles } from '../../../src/core/index.ts'
import type { SandboxFacts } from '../../../src/runners/index.ts'
import { canary, type Gateway, sandboxSpec, World } from './gateway.ts'
import { kinds } from './kinds.ts'

for (const { title, isolation, userId, options } of kinds) {
  describe(`a sandbox made by ${title}`, options, () => {
    let world: World
    let gateway: Gateway
    let facts: SandboxFacts
    const spec = sandboxSpec()
    const inside = async (command: string) => await gateway.run(facts, command)

    beforeAll(async () => {
      world = new World(isolation, userId)
      mkdirSync(join(world.folder, 'secrets'))
      writeFileSync(join(world.folder, 'secrets', 'key'), canary)
      gateway = await world.gateway({ inherit: join(world.folder, 'secrets') })
      facts = await gateway.start(spec)
    })
    afterAll(async () => await world[Symbol.asyncDispose]())

    test('sees none of the machine’s processes', async () => {
      const { stdout } = await inside('cat /proc/[0-9]*/comm')
      const allowed = new Set(['bwrap', 'sh', 'node', 'MainThread', 'cat'])
      expect(
        stdout
          .trim()
          .split('\n')
          .filter((name) => !allowed.has(name)),
      ).toEqual([])
      expect((await inside(`ls -d /proc/${process.pid}`)).code).not.toBe(0)
    })

    test('sees neither homes of the machine, nor the gateway’s state, nor another principal’s home', async () => {
      const other = sandboxSpec()
      const otherFacts = await gateway.start(other)
      await gateway.run(otherFacts, 'echo private > /home/crib/private-note')
      const { stdout } = await inside(
        `ls / /home /root ${world.folder} ${world.stateDir} /mnt /opt/toolcrib/src 2>&1; find / -name private-note 2>/dev/null`,
      )
      expect(stdout).not.toContain('private-note')
      expect(stdout).not.toContain('vault')
      for (const place of ['/root', world.folder, world.stateDir]) {
        expect(stdout).toMatch(new RegExp(`${place}'?: No such file`))
      }
      expect((await inside('ls /home')).stdout).toBe('crib\n')
      await gateway.delete(other.name, other.uid, 0)
    })

    test('has of /etc only what programs need', async () => {
      const { stdout } = await inside(
        'cat /etc/passwd; ls /etc/shadow /etc/ssl/private /etc/ssh /etc/sudoers 2>&1',
      )
      expect(stdout).toMatch(/^crib:x:1000:1000:/)
      expect(stdout).not.toContain('root:')
      expect(stdout.match(/No such file/g)).toHaveLength(4)
    })

    test('has the egress proxy’s certificate where programs look that ask no variable', async () => {
      const there = certificateBundles.filter((path) => existsSync(path))
      expect(there).not.toEqual([])
      const { stdout } = await inside(`cat ${there[0]}`)
      // And what the machine trusts goes on to be trusted.
      expect(stdout).toBe(`${spec.caCertificate}${readFileSync(there[0] ?? '', 'utf8')}`)
      expect((await inside(`: >> ${there[0]}`)).stderr).toContain(there[0])
    })

    test('writes to its home and /tmp and nowhere else', async () => {
      const places = [
        '/usr',
        '/opt',
        '/opt/toolcrib',
        '/etc',
        '/',
        '/dev',
        '/run',
        '/run/egress',
        '/proc/sys/kernel',
      ]
      for (const place of places) expect((await inside(`touch ${place}/x`)).stderr).toContain(place)
      for (const file of ['/etc/toolcrib/settings.json', '/opt/node/bin/node', '/etc/passwd']) {
        expect((await inside(`: >> ${file}`)).stderr).toContain(file)
      }
      expect((await inside('touch /home/crib/x /tmp/x /dev/shm/x')).code).toBe(0)
      expect(
        (await inside('mount -o remount,rw /usr; mount -t tmpfs x /home/crib; umount /usr')).code,
      ).not.toBe(0)
    })

    test('has no capability, can gain none, and is not root anywhere', async () => {
      const { stdout } = await inside('cat /proc/self/status /proc/1/status; id -u')
      expect(stdout.match(/^Cap\w+:\s*0+$/gm)).toHaveLength(10)
      expect(stdout.match(/^NoNewPrivs:\s*1$/gm)).toHaveLength(2)
      expect(stdout).toMatch(/\n1000\n$/)
      expect(ownerOutside(spec.name, world)).not.toBe(0)
    })

    test('makes no further namespaces', async () => {
      for (const flag of ['--user', '--map-root-user', '--mount', '--net', '--pid --fork']) {
        const { code, stderr } = await inside(`unshare ${flag} true`)
        expect(code).not.toBe(0)
        expect(stderr).toMatch(/No space left|not permitted/)
      }
    })

    test('invariant 2: no network but its own loopback; the machine’s loopback is not there', async () => {
      const host = createServer((socket) => socket.end('host'))
      await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
      const { port } = host.address() as AddressInfo
      // Programs inside print what they met: their output is all that comes out.
      const dial = (address: string, to: number) =>
        inside(
          `node -e "require('net').connect({host:'${address}',port:${to}}).on('connect',()=>console.log('open')).on('error',(e)=>console.log(e.code))"`,
        )
      expect((await dial('127.0.0.1', port)).stdout).toBe('ECONNREFUSED\n')
      // Nothing is sent: without an interface the kernel has no route. 192.0.2.0/24 is nobody's.
      expect((await dial('192.0.2.1', 80)).stdout).toBe('ENETUNREACH\n')
      expect((await dial('169.254.169.254', 80)).stdout).toBe('ENETUNREACH\n')
      expect((await dial('2001:db8::1', 80)).stdout).toMatch(/^(ENETUNREACH|EADDRNOTAVAIL)\n$/)
      expect(
        (await inside('cat /proc/net/dev')).stdout.match(/^\s*\w+:/gm)?.map((name) => name.trim()),
      ).toEqual(['lo:'])
      // Prints what its own server said.
      const own = await inside(
        `node -e "const s=require('net').createServer((c)=>c.end('own')).listen(0,'127.0.0.1',()=>require('net').connect(s.address().port,'127.0.0.1').on('data',(d)=>{console.log(String(d));s.close()}))"`,
      )
      expect(own.stdout).toBe('own\n')
      await new Promise((resolve) => host.close(resolve))
    })

    test('invariant 2: reaches the egress proxy over its socket, also after the proxy was restarted', async () => {
      // Prints the proxy's answer, or why there is none.
      const ask = `node -e "require('http').get({socketPath:'/run/egress/proxy.sock'},(r)=>r.pipe(process.stdout)).on('error',(e)=>console.log(e.code))"`
      const first = await world.proxy('first')
      expect((await inside(ask)).stdout).toBe('first')
      await new Promise((resolve) => first.close(resolve))
      expect((await inside(ask)).stdout).toMatch(/ENOENT|ECONNREFUSED/)
      const second = await world.proxy('second')
      expect((await inside(ask)).stdout).toBe('second')
      expect((await inside('rm -f /run/egress/proxy.sock')).code).not.toBe(0)
      await new Promise((resolve) => second.close(resolve))
    })

    test('invariant 1: inherits nothing from the gateway: no variable, no open file', async () => {
      const { stdout } = await inside(
        'cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr "\\0" "\\n"; ls -l /proc/[0-9]*/fd',
      )
      expect(stdout).not.toContain(canary)
      expect(stdout).not.toContain('secrets')
      const variables = (await inside('cat /proc/$PPID/environ | tr "\\0" "\\n" | cut -d= -f1 | sort')).stdout
      expect(variables.trim().split('\n')).toEqual([
        'HOME',
        'LANG',
        'LOGNAME',
        'PATH',
        'PWD',
        'TMPDIR',
        'USER',
      ])
      expect(
        (await inside('cat /proc/[0-9]*/fd/*/key /proc/[0-9]*/cwd/key 2>/dev/null')).stdout,
      ).not.toContain(canary)
    })

    test('runs Node with a hundred threads and several workers within its limits', async () => {
      const roomy = sandboxSpec()
      roomy.limits = { ...roomy.limits, processes: 256, openFiles: 1024 }
      const roomyFacts = await gateway.start(roomy)
      // Prints how many of each came back.
      const script = `
        const { Worker } = require('node:worker_threads')
        const { readFile } = require('node:fs/promises')
        const workers = Array.from({ length: 2 }, () => new Promise((resolve, reject) =>
          new Worker("require('node:worker_threads').parentPort.postMessage(1)", { eval: true })
            .on('message', resolve).on('error', reject)))
        const reads = Array.from({ length: 500 }, () => readFile('/etc/services'))
        Promise.all(reads).then((all) => console.log('reads', all.length))
        Promise.all(workers).then((all) => console.log('workers', all.length))
      `
      await gateway.run(roomyFacts, `cat > /home/crib/threads.cjs <<'END'\n${script}\nEND`)
      const { stdout, stderr } = await gateway.run(
        roomyFacts,
        'UV_THREADPOOL_SIZE=100 node ~/threads.cjs | sort',
      )
      expect(stdout + stderr).toBe('reads 500\nworkers 2\n')
      await gateway.delete(roomy.name, roomy.uid, 0)
    })

    test('knows its names: home, host, time, and that there is no other name service', async () => {
      const { stdout } = await inside(
        'echo ~; whoami; getent hosts localhost; getent hosts example.com || echo none; date +%Y',
      )
      expect(stdout).toMatch(/^\/home\/crib\ncrib\n(127\.0\.0\.1|::1)\s+localhost.*\nnone\n20\d\d\n$/)
    })
  })
}

/** Who the toolhost is for the machine. */
function ownerOutside(name: string, world: World): number {
  const record = JSON.parse(readFileSync(join(world.stateDir, 'runners', name, 'g1.json'), 'utf8'))
  const status = readFileSync(`/proc/${record.init.pid}/status`, 'utf8')
  return Number(/^Uid:\s*(\d+)/m.exec(status)?.[1])
}
