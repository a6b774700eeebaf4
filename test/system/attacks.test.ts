// oxlint-disable max-lines -- one started dev serves all of it
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { type DevProcess, startDev } from '../support/dev-process.ts'
import { type Message, post } from '../support/mcp-wire.ts'
import { needing } from '../support/needs.ts'
import { processes } from '../support/processes.ts'
import { until } from '../support/until.ts'

/**
 * Attacks over the wire on a running `npm run dev`, each title saying what is refused: from inside Alice's sandbox,
 * by Alice with her token, and by anybody who reaches the port. docs/security-review.md lists them all.
 */
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

let dev: DevProcess
let folder: string
let alice: string
let bob: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'toolcrib-attacks-'))
  const config = parse(readFileSync(here('../../toolcrib.dev.yaml'), 'utf8')) as {
    sources: Record<string, unknown>
  }
  const program = readFileSync(here('fixtures/hostile-source.mjs'), 'utf8')
  config.sources['hostile'] = {
    kind: 'stdio',
    command: 'node',
    args: ['--input-type=module', '-e', program],
    review: 'on_first_sight',
  }
  writeFileSync(join(folder, 'attacks.yaml'), stringify(config))
  dev = await startDev({
    folder: join(folder, 'dev'),
    environment: { TOOLCRIB_CONFIG: join(folder, 'attacks.yaml') },
  })
  ;[alice = '', bob = ''] = await Promise.all([dev.token('alice'), dev.token('bob')])
  await until(async () => {
    const names = (await rpc(alice, 'tools/list')).result?.['tools'] as { name: string }[]
    return ['hostile_deep', 'workspace_run', 'orders_list_orders'].every((name) =>
      names.some((tool) => tool.name === name || tool.name.startsWith(name.slice(0, 8))),
    )
  }, 60_000)
}, 90_000)
afterAll(async () => {
  await dev[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

let lastId = 0
async function rpc(
  token: string,
  method: string,
  params: object = {},
  headers: Record<string, string> = {},
  path = '/mcp',
): Promise<Message> {
  const body = { jsonrpc: '2.0', id: ++lastId, method, params }
  const { messages } = await post(`${dev.ready.admin}${path}`, body, { token, headers })
  return messages.at(-1) ?? {}
}

async function call(token: string, name: string, args: object = {}): Promise<string> {
  const answer = await rpc(token, 'tools/call', { name, arguments: args })
  const content = (answer.result?.['content'] ?? []) as { text?: string }[]
  return content.map((part) => part.text ?? '').join('\n') + (answer.error?.message ?? '')
}

const run = async (command: string, token = alice) => await call(token, 'workspace_run', { command })
const node = async (program: string) =>
  await run(`node --input-type=module -e '${program.replaceAll("'", `'\\''`)}' 2>&1`)
const bobIsFine = async () => expect(await run('echo I am fine', bob)).toContain('I am fine')

/** As `pkill` would, which is not on every machine. */
const killToolhost = `for each in /proc/[0-9]*; do case $(tr '\\0' ' ' <$each/cmdline) in '/opt/node/bin/node /opt/toolcrib/src/toolhost/main.ts '*) kill -9 \${each#/proc/} ;; esac; done 2>/dev/null`

/** A forged token that only its proof gives away: its checksum is right. */
function withChecksum(body: string): string {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  let sum = ''
  for (let rest = crc32(body); sum.length < 6; rest = Math.floor(rest / 62)) sum = digits[rest % 62] + sum
  return body + sum
}

/** Everything on disk and in memory that nobody inside or outside may see. */
function secrets(): string[] {
  const state = join(folder, 'dev')
  const { privateKey } = JSON.parse(
    readFileSync(
      join(
        state,
        'egress-keys',
        readdirSync(join(state, 'egress-keys')).find((n) => n.startsWith('sealing')) ?? '',
      ),
      'utf8',
    ),
  ) as { privateKey: string }
  return [
    alice,
    dev.ready.adminKey,
    privateKey,
    readFileSync(join(state, 'keys/pepper'), 'utf8').trim(),
    readFileSync(join(state, 'database-url'), 'utf8').trim(),
  ]
}

describe('from inside a sandbox', needing('sandbox'), () => {
  test('the network, the gateway, the database, metadata: nothing answers', async () => {
    const ports = [
      new URL(dev.ready.mcp).port,
      new URL(readFileSync(join(folder, 'dev/database-url'), 'utf8')).port,
    ]
    const targets = [
      ...ports.map((port) => ['127.0.0.1', port]),
      ['169.254.169.254', '80'],
      ['192.0.2.1', '443'],
    ]
    // Prints what answered: output is the one way out of the sandbox.
    const said = await node(`
      import { connect } from "node:net"
      import dns from "node:dns/promises"
      // Which the system gives out, and of which one can be that of the gateway outside.
      const relay = new URL(process.env.HTTPS_PROXY).port
      for (const [host, port] of ${JSON.stringify(targets)}) await new Promise((done) => {
        if (host === "127.0.0.1" && port === relay) return done(console.log("ECONNREFUSED, but for our own relay"))
        const say = (...words) => { console.log(...words); done() }
        connect({ host, port }).on("connect", () => say("OPEN", host, port)).on("error", (e) => say(e.code)) })
      await dns.lookup("example.com").then(() => console.log("OPEN dns"), (e) => console.log(e.code))`)
    expect(said).not.toContain('OPEN')
    expect(said.match(/ECONNREFUSED|ENETUNREACH|EAI_AGAIN|ENOTFOUND/g)?.length).toBeGreaterThanOrEqual(5)
  })

  test('no key, token, pepper, database password or state directory can be found', async () => {
    await call(alice, 'orders_list_orders')
    const words = [...secrets().map((secret) => secret.slice(0, 24)), 'ord_live_', 'xoxb-'].filter(Boolean)
    // The search must not find its own words, so they come in pieces.
    const pieces = JSON.stringify(words.map((word) => [word.slice(0, 3), word.slice(3)]))
    // Prints where something was found, and that the search came to its end.
    const said = await node(`
      import { readFileSync, readdirSync, openSync, readSync } from "node:fs"
      const words = ${pieces}.map((parts) => parts.join(""))
      const look = (where, text) => { for (const w of words) if (text.includes(w)) console.log("FOUND", where, w.slice(0, 5)) }
      for (const pid of readdirSync("/proc").filter((n) => /^[0-9]+$/.test(n))) {
        if (Number(pid) === process.pid || Number(pid) === process.ppid) continue
        try { look(pid + " environ", readFileSync("/proc/" + pid + "/environ", "latin1")) } catch {}
        let maps = []
        try { maps = readFileSync("/proc/" + pid + "/maps", "latin1").split("\\n") } catch {}
        let fd; try { fd = openSync("/proc/" + pid + "/mem", "r") } catch { continue }
        for (const line of maps) {
          const m = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line); if (!m) continue
          const from = parseInt(m[1], 16), size = Math.min(parseInt(m[2], 16) - from, 64 << 20)
          const bytes = Buffer.alloc(size)
          try { readSync(fd, bytes, 0, size, from) } catch { continue }
          look(pid + " memory " + line.slice(0, 40), bytes.toString("latin1"))
        }
      }
      const walk = (dir) => { for (const e of readdirSync(dir, { withFileTypes: true })) {
        const path = dir + "/" + e.name
        if (e.isDirectory() && e.name !== "node_modules") walk(path)
        else if (e.isFile()) try { look(path, readFileSync(path, "latin1")) } catch {} } }
      for (const dir of ["/home", "/etc/toolcrib", "/run", "/opt/toolcrib/src", "/opt/toolcrib/sources", "/tmp"]) walk(dir)
      console.log("searched")`)
    expect(said).toContain('searched')
    expect(said.split('\n').filter((line) => line.startsWith('FOUND'))).toEqual([])
    expect(
      await run(`ls -d ${folder} ${join(folder, 'dev')} ${here('../..')}.git ${here('../..')}.env 2>&1`),
    ).not.toMatch(/^\//m)
  })

  test('no namespace, no set-uid program, no device, no kernel setting gives more rights', async () => {
    const said = await run(
      'unshare -Ur id; unshare -r true && echo ROOT; nsenter -t 1 -m -- id && echo ENTERED; cat /dev/mem /proc/kcore /dev/vda && echo READ; echo x > /proc/sys/kernel/core_pattern && echo WROTE; echo c > /proc/sysrq-trigger && echo WROTE; mount -t tmpfs x /home/crib && echo MOUNTED; mknod /tmp/m c 1 1 && echo DEVICE; chmod u+s /tmp && find / -xdev -perm -4000 -type f -exec {} --version \\; 2>/dev/null; grep NoNewPrivs /proc/self/status; ulimit -c',
    )
    expect(said).not.toMatch(/ROOT|ENTERED|READ|WROTE|MOUNTED|DEVICE|uid=0/)
    expect(said).toMatch(/NoNewPrivs:\s+1/)
  })

  test('the lease of the workspace opens no host of another source, and Bob’s home is not there', async () => {
    await run('echo private > ~/note', bob)
    const { port } = new URL(dev.ready.mcp)
    // Prints the proxy's answers, for this test to read.
    const said = await node(`
      import { connect } from "node:net"
      const { hostname, port, username, password } = new URL(process.env.HTTPS_PROXY)
      const auth = [username, password].map(decodeURIComponent).join(":")
      for (const target of ["orders.crib.test:7443", "127.0.0.1:${port}"]) await new Promise((done) =>
        connect(port, hostname)
          .on("connect", function () { this.write("CONNECT " + target + " HTTP/1.1\\r\\nHost: " + target
            + "\\r\\nProxy-Authorization: Basic " + btoa(auth) + "\\r\\n\\r\\n") })
          .on("data", function (bytes) { console.log(String(bytes)); this.destroy(); done() })
          .on("error", (error) => { console.log(error.code); done() }).setTimeout(10_000, done))`)
    const homes = await run('ls -la /home; cat /home/*/note 2>&1')
    expect(said + homes).not.toMatch(/brass token|"ok":true|private/)
    expect(said.match(/^HTTP\/1.1 403 /gm)).toHaveLength(2)
  })

  test('a fork bomb and a full /tmp end in the sandbox; Bob is served meanwhile', async () => {
    const bomb = run(
      '(dd if=/dev/zero of=/tmp/full bs=1M count=4000 2>&1 | tail -1); i=0; while [ $i -lt 2000 ]; do sleep 3 & i=$((i+1)); done 2>&1 | tail -2; rm -f /tmp/full',
    )
    await bobIsFine()
    expect(await bomb).toMatch(/No space|fork|Resource|exit|copied/i)
    await until(async () => (await run('echo again')).includes('again'), 30_000)
  })

  test('an answer of a million brackets and a schema that is a promise end in a sentence, not in the gateway’s end', async () => {
    expect(await call(alice, 'hostile_deep')).toMatch(/nests deeper|not known whether/)
    expect(await call(alice, 'hostile_promise')).toMatch(/input schema of this tool cannot be used/)
    expect(await call(alice, 'hostile_wide', { a: Array.from({ length: 150_000 }, () => 'x') })).toMatch(
      /do not fit|too long/,
    )
    expect((await fetch(`${dev.ready.admin}/healthz`)).status).toBe(200)
  })

  test('something in place of the toolhost’s socket is not spoken to, and the sandbox comes back', async () => {
    for (const place of ['ln -s /run/egress/proxy.sock', 'mkfifo', 'ln -s /etc/passwd']) {
      const target = '/run/toolcrib/toolhost.sock'
      await run(`rm -f ${target}; ${place} ${target}; ${killToolhost}; true`)
      await bobIsFine()
      await until(async () => (await run('echo back')).includes('back'), 60_000)
    }
    expect(await run('echo again')).toContain('again')
  }, 120_000)

  test('what takes the toolhost’s place can answer its own person’s calls and nobody else’s', async () => {
    await run(`cat > ~/fake.mjs <<'END'
import { createServer } from 'node:http'
import { readFileSync, rmSync } from 'node:fs'
const { sandboxUid, generation } = JSON.parse(readFileSync('/etc/toolcrib/settings.json'))
rmSync('/run/toolcrib/toolhost.sock', { force: true })
createServer((q, s) => { q.resume(); s.setHeader('x-toolcrib-sandbox', sandboxUid); s.setHeader('x-toolcrib-generation', String(generation))
  if (q.url !== '/calls') return s.end('{}')
  s.write('{"type":"accepted"}\\n'); const f = setInterval(() => s.write('{"type":"progress","progress":1}\\n'.repeat(500)), 1); s.on('close', () => clearInterval(f))
}).listen('/run/toolcrib/toolhost.sock')
END
setsid node ~/fake.mjs >/dev/null 2>&1 & sleep 1`)
    // Calls at once need connections of their own, which lead to the impostor.
    const answers = await Promise.all(Array.from({ length: 4 }, () => run('sleep 0.5; echo real')))
    for (const answer of answers) expect(answer).toMatch(/real|not known whether|cannot be reached|could not/)
    await bobIsFine()
    await dev.toolcrib(['runners', 'stop', 'alice'])
    await until(async () => (await run('echo back')).includes('back'), 60_000)
  }, 120_000)
})

describe('with a token', () => {
  test('another endpoint, another person’s session and the admin API stay closed', async () => {
    expect(
      (
        await post(
          `${dev.ready.admin}/mcp/toolkits/orders`,
          { jsonrpc: '2.0', id: 1, method: 'tools/list' },
          { token: alice },
        )
      ).status,
    ).toBe(403)
    const opened = await post(
      dev.ready.mcp,
      {
        jsonrpc: '2.0',
        id: 1,
        method: 'initialize',
        params: {
          protocolVersion: '2025-11-25',
          capabilities: {},
          clientInfo: { name: 'a\u001b[31m\u202e\nadmin', version: '1' },
        },
      },
      { token: alice },
    )
    const session = opened.headers.get('mcp-session-id') ?? ''
    expect(session).toMatch(/^tcs\./)
    const stolen = { 'mcp-session-id': session }
    expect(
      (
        await post(
          dev.ready.mcp,
          { jsonrpc: '2.0', id: 2, method: 'tools/list' },
          { token: bob, headers: stolen },
        )
      ).status,
    ).toBe(403)
    expect(
      (await post(dev.ready.mcp, undefined, { token: bob, headers: stolen, method: 'DELETE' })).status,
    ).toBe(404)
    // Alice's call runs on; Bob says that it is cancelled, in her session and in one that he made up.
    const running = post(
      dev.ready.mcp,
      { jsonrpc: '2.0', id: 77, method: 'tools/call', params: { name: 'whoami', arguments: {} } },
      { token: alice, headers: stolen },
    )
    for (const id of [session, 'made-up'])
      await post(
        dev.ready.mcp,
        { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 77 } },
        { token: bob, headers: { 'mcp-session-id': id } },
      )
    expect(JSON.stringify((await running).messages)).toContain('You are Alice')
    for (const path of ['/admin/v1/tokens', '/admin/v1/events', '/admin/v1/keys'])
      expect(
        (await fetch(`${dev.ready.admin}${path}`, { headers: { authorization: `Bearer ${alice}` } })).status,
      ).toBe(401)
    const { stdout } = await dev.toolcrib(['audit'])
    // oxlint-disable-next-line no-control-regex -- this is what must not be there
    expect(stdout).not.toMatch(/[\u001b\u202e]/)
  })

  test('arguments made to break: __proto__, depth, size, an alias of another kind', async () => {
    const raw = async (args: string) =>
      await (
        await fetch(dev.ready.mcp, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${alice}`,
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
          },
          body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"workspace_run","arguments":${args}}}`,
        })
      ).text()
    expect(await raw('{"__proto__":{"command":"id"}}')).toMatch(/not valid JSON/)
    expect(await raw('{"constructor":{"prototype":{"x":1}}}')).not.toContain('uid=')
    expect(await raw(`${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`)).toMatch(/nest deeper/)
    expect(await raw(`{"command":"${'x'.repeat(2_000_000)}"}`)).toMatch(/larger than 1 MiB/)
    expect(await raw(`{"command":"${'x'.repeat(5_000_000)}"}`)).toMatch(/larger than this server/)
    expect(await raw('{"command":1e400}')).not.toContain('exit code 0')
    for (const name of [
      'WORKSPACE_RUN',
      'workspace.run',
      'workspace_run\u0000',
      '__proto__',
      'constructor',
      '../whoami',
    ])
      expect(await call(alice, name, {})).toMatch(/There is no tool/)
    const batch = Array.from({ length: 5_000 }, (_, id) => ({
      jsonrpc: '2.0',
      id,
      method: 'tools/call',
      params: { name: 'whoami' },
    }))
    expect((await post(dev.ready.mcp, batch, { token: alice })).status).toBe(400)
  })
})

describe('without a token', () => {
  const status = async (path: string, init: RequestInit = {}) =>
    (await fetch(`${dev.ready.admin}${path}`, init)).status
  /** Bytes as they are; what comes back until the end, or for two seconds. */
  const raw = async (text: string): Promise<string> =>
    await new Promise((resolve) => {
      let got = ''
      const socket = connect(Number(new URL(dev.ready.mcp).port), '127.0.0.1', () => socket.write(text))
      socket.on('data', (chunk) => (got += chunk.toString()))
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(got))
      setTimeout(() => socket.destroy(), 2_000)
    })

  test('a foreign Host or Origin reaches neither the endpoint nor the newcomer’s page', async () => {
    for (const path of ['/mcp', '/', '/newcomer/messages?as=alice']) {
      const got = await raw(`GET ${path} HTTP/1.1\r\nHost: rebound.example.com\r\nConnection: close\r\n\r\n`)
      expect(got).toMatch(/^HTTP\/1\.1 403/)
      expect(got).not.toContain('tcb_')
    }
    expect(
      (
        await post(
          dev.ready.mcp,
          { jsonrpc: '2.0', id: 1, method: 'tools/list' },
          { token: alice, headers: { origin: 'https://evil.example.com' } },
        )
      ).status,
    ).toBe(403)
    expect(
      await status('/newcomer/say', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'sec-fetch-site': 'cross-site' },
        body: '{"text":"/mcp-token"}',
      }),
    ).toBe(403)
  })

  test('unsigned, wrongly signed and stale words of “Slack” are refused', async () => {
    const body = 'command=/mcp-token&user_id=U0CR1BALICE&text=revoke all'
    for (const headers of [
      {},
      {
        'x-slack-request-timestamp': String(Math.floor(Date.now() / 1000)),
        'x-slack-signature': `v0=${'0'.repeat(64)}`,
      },
      { 'x-slack-request-timestamp': '1', 'x-slack-signature': `v0=${'0'.repeat(64)}` },
      { 'x-slack-request-timestamp': 'NaN', 'x-slack-signature': '' },
    ])
      expect(
        await status('/slack/events', {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
          body,
        }),
      ).toBe(401)
  })

  test('smuggled, oversized and unknown requests get an answer that says nothing', async () => {
    const smuggled = await raw(
      'POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
    )
    expect(smuggled).toMatch(/^HTTP\/1\.1 400/)
    expect(smuggled).not.toContain('"ok":true')
    expect(await raw(`GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431/,
    )
    expect(await (await fetch(`${dev.ready.admin}/readyz`)).json()).toEqual({ ok: true })
    for (const path of ['/admin/v1/tokens', '/admin/v1/doctor', '/mcp']) expect(await status(path)).toBe(401)
    const quoting = await fetch(`${dev.ready.admin}/admin/v1/credentials/A_KEY`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${dev.ready.adminKey}`, 'content-type': 'application/json' },
      body: '{"value": hunter2-hunter2}',
    })
    expect(await quoting.text()).not.toContain('hunter2')
  })

  test('guesses at one token do not lock its owner out, and are limited', async () => {
    const statuses = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const token = withChecksum(`${alice.slice(0, 17)}${'A'.repeat(41)}${i + 10}`)
        return (await post(dev.ready.mcp, { jsonrpc: '2.0', id: 1, method: 'tools/list' }, { token })).status
      }),
    )
    expect(statuses).toContain(429)
    expect(statuses).not.toContain(200)
    expect(await call(alice, 'whoami')).toContain('You are Alice')
  })
})

describe('at rest', () => {
  test('files that hold a secret are for their owner only', () => {
    const state = join(folder, 'dev')
    const held = ['keys', 'egress-keys'].flatMap((room) =>
      readdirSync(join(state, room)).map((name) => join(room, name)),
    )
    // A pepper; a CA key, its certificate and a sealing key: an empty folder would prove nothing.
    expect(held.length).toBeGreaterThanOrEqual(4)
    for (const path of ['connection.json', 'database-url', 'sandboxes', 'keys', 'egress-keys', ...held])
      expect(statSync(join(state, path)).mode & 0o077).toBe(0)
    const readable = readdirSync(state, { withFileTypes: true }).filter(
      (entry) => entry.isFile() && (statSync(join(state, entry.name)).mode & 0o077) !== 0,
    )
    for (const { name } of readable) {
      const text = readFileSync(join(state, name), 'utf8')
      for (const secret of secrets()) expect(text.includes(secret)).toBe(false)
    }
  })

  test('no process shows a secret in its arguments, and no log holds one', async () => {
    const shown = (await processes()).map(({ commandLine }) => commandLine).join('\n')
    for (const secret of secrets()) {
      expect(shown.includes(secret)).toBe(false)
      expect(dev.log().includes(secret)).toBe(false)
    }
    expect(dev.log()).not.toMatch(/ord_live_|tc[ab]_[0-9a-z]{12}_[0-9A-Za-z]{40}/)
  })
})
