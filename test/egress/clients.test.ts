/** Programs that people really use, with nothing but the environment that a sandbox gives to its sources. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { WebSocketServer } from 'ws'
import { theSecret } from '../support/egress-world.ts'
import { findPython } from '../support/machine.ts'
import { needing } from '../support/needs.ts'
import {
  cargoRegistry,
  gitServer,
  npmRegistry,
  pythonIndex,
  writeCargoProject,
} from '../support/package-servers.ts'
import { demanded, makeClient } from '../support/program-client.ts'
import type { Upstream } from '../support/upstream.ts'

const run = promisify(execFile)

const hello: RequestListener = (req, res) => {
  let body = ''
  req.on('data', (chunk: Buffer) => {
    body += chunk.toString()
  })
  req.on('end', () => res.end(`hello ${req.method} ${body}`))
}

test('curl sends, with a credential that it never has', needing('curl'), async () => {
  await using client = await makeClient(() => hello)
  const said = await client.run('curl', ['-sS', '-d', 'body', `${client.url}/v1`, '-v', '--stderr', 'trace'])
  expect(said).toBe('hello POST body')
  expect(await readFile(join(client.folder, 'trace'), 'utf8')).not.toContain(theSecret)
})

test('wget sends, which no variable tells whom to trust', needing('wget'), async () => {
  await using client = await makeClient(() => hello)
  expect(await client.run('wget', ['-q', '-O', '-', '--post-data', 'body', client.url])).toBe(
    'hello POST body',
  )
})

test('Perl’s LWP sends', needing('perl lwp'), async () => {
  await using client = await makeClient(() => hello)
  // A program of its own; what it prints is its answer to this test.
  const script = 'print LWP::UserAgent->new(env_proxy => 1)->post($ARGV[0], Content => "body")->content'
  expect(await client.run('perl', ['-MLWP::UserAgent', '-e', script, client.url])).toBe('hello POST body')
})

test('PHP’s curl sends, which no variable tells whom to trust', needing('php'), async () => {
  await using client = await makeClient(() => hello)
  // A program of its own; what it prints is its answer to this test.
  const script = '$c = curl_init($argv[1]); curl_setopt($c, CURLOPT_POSTFIELDS, "body"); curl_exec($c);'
  expect(await client.run('php', ['-r', script, client.url])).toBe('hello POST body')
})

test('Node’s fetch sends', async () => {
  await using client = await makeClient(() => hello)
  // A program of its own; what it prints is its answer to this test.
  const script = `fetch(process.argv[1], { method: 'POST', body: 'body' }).then(async (r) => console.log(await r.text()))`
  expect(await client.run(process.execPath, ['-e', script, client.url])).toBe('hello POST body\n')
})

test('a Node program with an agent of its own sends once the agent is told of the proxy', async () => {
  await using client = await makeClient(() => hello)
  // A program of its own; what it prints is its answer to this test.
  const script = `const { Agent, get } = require('node:https')
get(process.argv[1], { agent: new Agent({ proxyEnv: process.env }) }, (res) => res.pipe(process.stdout))`
  expect(await client.run(process.execPath, ['-e', script, client.url])).toBe('hello GET ')
})

test('Deno’s fetch sends', needing('deno'), async () => {
  await using client = await makeClient(() => hello)
  // A program of its own as well, and it has no other way to answer.
  const script = `console.log(await (await fetch(Deno.args[0], { method: 'POST', body: 'body' })).text())`
  await writeFile(join(client.folder, 'client.ts'), script)
  expect(await client.run('deno', ['run', '--allow-net', 'client.ts', client.url])).toBe('hello POST body\n')
})

test('Python’s requests and aiohttp send', needing('python clients'), async () => {
  await using client = await makeClient(() => hello)
  const python = findPython('requests, aiohttp') ?? ''
  const requests = 'import requests, sys; print(requests.post(sys.argv[1], data="body").text)'
  expect(await client.run(python, ['-c', requests, client.url])).toBe('hello POST body\n')
  const aiohttp = `import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.post(sys.argv[1], data='body') as answer:
            print(await answer.text())
asyncio.run(main())`
  expect(await client.run(python, ['-c', aiohttp, client.url])).toBe('hello POST body\n')
})

test(
  'httplib2 sends, by which Google’s own libraries for Python ask',
  needing('python httplib2'),
  async () => {
    await using client = await makeClient(() => hello)
    const program =
      'import httplib2, sys; print(httplib2.Http().request(sys.argv[1], "POST", body="body")[1].decode())'
    const python = findPython('httplib2, socks') ?? ''
    expect(await client.run(python, ['-c', program, client.url])).toBe('hello POST body\n')
  },
)

/** Says over a WebSocket what it hears, and what it was asked by. */
function echo(up: Upstream): void {
  const server = new WebSocketServer({ noServer: true })
  up.onUpgrade((socket, req, head) =>
    server.handleUpgrade(req, socket, head, (opened) => {
      opened.on('message', (data: Buffer) => opened.send(`heard ${data.toString()}`))
      opened.send(req.headers.authorization === demanded ? 'welcome' : 'who are you?')
    }),
  )
}

test('Node’s own WebSocket talks', async () => {
  await using client = await makeClient(() => hello)
  echo(client.up)
  // A program of its own; what it prints when it is done is its answer to this test.
  const program = `const socket = new WebSocket(process.argv[1].replace('https', 'wss') + '/live')
const heard = []
socket.onmessage = ({ data }) => { heard.push(data); heard.length === 1 ? socket.send('body') : socket.close() }
socket.onclose = () => console.log(heard.join(', '))`
  expect(await client.run(process.execPath, ['-e', program, client.url])).toBe('welcome, heard body\n')
})

test('aiohttp’s WebSocket talks', needing('python clients'), async () => {
  await using client = await makeClient(() => hello)
  echo(client.up)
  const program = `import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.ws_connect(sys.argv[1].replace('https', 'wss') + '/live') as socket:
            first = await socket.receive_str()
            await socket.send_str('body')
            print(first, await socket.receive_str(), sep=', ')
asyncio.run(main())`
  const python = findPython('requests, aiohttp') ?? ''
  expect(await client.run(python, ['-c', program, client.url])).toBe('welcome, heard body\n')
})

test('Python’s own urllib sends', needing('python'), async () => {
  await using client = await makeClient(() => hello)
  const urllib =
    'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], data=b"body").read().decode())'
  expect(await client.run('python3', ['-c', urllib, client.url])).toBe('hello POST body\n')
})

test('Go sends', { ...needing('go'), timeout: 100_000 }, async () => {
  await using client = await makeClient(() => hello)
  const program = `package main
import ("fmt"; "io"; "net/http"; "os"; "strings")
func main() {
	answer, err := http.Post(os.Args[1], "text/plain", strings.NewReader("body"))
	if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) }
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(string(body))
}`
  await writeFile(join(client.folder, 'main.go'), program)
  // Built with the cache of whoever runs the test: a home of its own would compile the whole library.
  await run('go', ['build', '-o', 'client', 'main.go'], { cwd: client.folder, env: process.env })
  expect(await client.run(join(client.folder, 'client'), [client.url])).toBe('hello POST body\n')
})

test('Java sends, once the program hands over the lease', {
  ...needing('java'),
  timeout: 60_000,
}, async () => {
  await using client = await makeClient(() => hello)
  const program = `import java.net.*; import java.net.http.*;
public class Client { public static void main(String[] args) throws Exception {
  String[] lease = URI.create(System.getenv("HTTPS_PROXY")).getUserInfo().split(":", 2);
  Authenticator authenticator = new Authenticator() { protected PasswordAuthentication getPasswordAuthentication() {
    return new PasswordAuthentication(lease[0], lease[1].toCharArray()); } };
  HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).proxy(ProxySelector.getDefault()).authenticator(authenticator).build();
  HttpRequest request = HttpRequest.newBuilder(URI.create(args[0])).POST(HttpRequest.BodyPublishers.ofString("body")).build();
  System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
} }`
  await writeFile(join(client.folder, 'Client.java'), program)
  expect(await client.run('java', ['Client.java', client.url])).toBe('hello POST body\n')
})

test('Java by HTTP/2 hears that it is refused, however much it would send', {
  ...needing('java'),
  timeout: 60_000,
}, async () => {
  await using client = await makeClient(() => hello)
  const program = `import java.net.*; import java.net.http.*; import java.time.Duration;
public class Client { public static void main(String[] args) throws Exception {
  String[] lease = URI.create(System.getenv("HTTPS_PROXY")).getUserInfo().split(":", 2);
  Authenticator authenticator = new Authenticator() { protected PasswordAuthentication getPasswordAuthentication() {
    return new PasswordAuthentication(lease[0], lease[1].toCharArray()); } };
  HttpClient client = HttpClient.newBuilder().proxy(ProxySelector.getDefault()).authenticator(authenticator).build();
  HttpRequest request = HttpRequest.newBuilder(URI.create(args[0])).timeout(Duration.ofSeconds(20)).PUT(HttpRequest.BodyPublishers.ofByteArray(new byte[1_000_000])).build();
  HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
  System.out.println(answer.version() + " " + answer.statusCode() + " " + answer.body());
} }`
  await writeFile(join(client.folder, 'Client.java'), program)
  expect(await client.run('java', ['Client.java', client.url])).toMatch(/^HTTP_2 403 .*method_not_allowed/)
})

test('git clones over https, and pushes more than it buffers', {
  ...needing('git'),
  timeout: 60_000,
}, async () => {
  await using client = await makeClient(() => {
    return (req, res) => gitServer(join(client.folder, 'server'))(req, res)
  })
  const { folder, url } = client
  const git = async (...args: string[]) =>
    await client.run('git', ['-c', 'user.name=Alice', '-c', 'user.email=alice@example.com', ...args])
  await mkdir(join(folder, 'server'))
  await git('init', '-q', '--bare', 'server/demo.git')
  await git('-C', 'server/demo.git', 'config', 'http.receivepack', 'true')
  await git('clone', '-q', `${url}/demo.git`, 'work')
  const big = randomBytes(3 * 1024 * 1024)
  await writeFile(join(folder, 'work', 'big'), big)
  await git('-C', 'work', 'add', 'big')
  await git('-C', 'work', 'commit', '-q', '-m', 'more than http.postBuffer, so it is sent in chunks')
  // By HTTP/2 curl 7.88 asks git for more of a body after its end, and git then waits for itself.
  await git('-c', 'http.version=HTTP/1.1', '-C', 'work', 'push', '-q', 'origin', 'HEAD')
  await git('clone', '-q', `${url}/demo.git`, 'again')
  expect((await readFile(join(folder, 'again', 'big'))).equals(big)).toBe(true)
})

test('npm installs a package of a scope, whose name has a slash in it, from a registry', {
  timeout: 60_000,
}, async () => {
  await using client = await makeClient((url) => npmRegistry(url))
  await writeFile(join(client.folder, 'package.json'), '{}')
  await client.run('npm', ['install', '@crib/demo', '--no-audit', '--no-fund'], {
    npm_config_registry: client.url,
  })
  const said = await client.run(process.execPath, ['-p', "require('@crib/demo')"])
  expect(said).toBe('from npm\n')
})

test('Yarn installs from a registry', { ...needing('yarn'), timeout: 60_000 }, async () => {
  await using client = await makeClient((url) => npmRegistry(url))
  await writeFile(join(client.folder, 'package.json'), '{"name":"uses"}')
  await writeFile(join(client.folder, 'yarn.lock'), '')
  const settings = {
    YARN_NPM_REGISTRY_SERVER: client.url,
    YARN_NPM_MINIMAL_AGE_GATE: '0',
    YARN_NODE_LINKER: 'node-modules',
  }
  await client.run('yarn', ['add', '@crib/demo@1.0.0'], { ...settings, YARN_ENABLE_TELEMETRY: '0' })
  const said = await client.run(process.execPath, ['-p', "require('@crib/demo')"])
  expect(said).toBe('from npm\n')
})

test('pip installs from an index', { ...needing('pip'), timeout: 60_000 }, async () => {
  let folder = ''
  let serve: RequestListener | undefined
  await using client = await makeClient(() => (req, res) => {
    serve ??= pythonIndex(folder)
    serve(req, res)
  })
  folder = client.folder
  const python = findPython('pip') ?? ''
  const index = `${client.url}/simple/`
  const install = '-m pip install -q --disable-pip-version-check --no-cache-dir --target packages --index-url'
  await client.run(python, [...install.split(' '), index, 'crib-demo'])
  const said = await client.run(python, ['-c', 'import crib_demo; print(crib_demo.said)'], {
    PYTHONPATH: 'packages',
  })
  expect(said).toBe('from pip\n')
})

test('cargo fetches a crate', { ...needing('cargo'), timeout: 60_000 }, async () => {
  await using client = await makeClient((url) => cargoRegistry(url))
  writeCargoProject(client.folder, client.url)
  // rustup looks for its toolchains in the home of whoever installed it.
  const rustup = process.env['RUSTUP_HOME'] ?? join(process.env['HOME'] ?? '', '.rustup')
  await client.run('cargo', ['fetch', '-q'], { RUSTUP_HOME: rustup })
  expect(await readFile(join(client.folder, 'Cargo.lock'), 'utf8')).toContain('name = "crib-demo"')
})

test(
  'a host that no rule names is told to the program as refused, by each',
  needing('curl', 'git'),
  async () => {
    await using client = await makeClient(() => hello)
    const elsewhere = 'https://elsewhere.example'
    await expect(client.run('curl', ['-sS', elsewhere])).rejects.toThrow(/403/)
    await expect(client.run('git', ['ls-remote', elsewhere])).rejects.toThrow(/403/)
    // A program of its own: it prints what Node says of the refusal, as `curl` and `git` above do of themselves.
    const script = `fetch(process.argv[1]).then(() => process.exit(0), (e) => { console.error(require('node:util').inspect(e, { depth: 9 })); process.exit(1) })`
    await expect(client.run(process.execPath, ['-e', script, elsewhere])).rejects.toThrow(/403/)
  },
)

test('what to ask an admin is said by programs that show no body: npm, and Python of a refused tunnel', {
  ...needing('python'),
  timeout: 60_000,
}, async () => {
  await using client = await makeClient(() => hello)
  await writeFile(join(client.folder, 'package.json'), '{"name":"@crib/demo","version":"1.0.0"}')
  const publish = client.run('npm', [
    'publish',
    '--registry',
    client.url,
    `--${client.url.slice(6)}/:_authToken=none`,
  ])
  await expect(publish).rejects.toThrow(
    `403 method_not_allowed: ask an admin: toolcrib egress allow orders PUT ${client.url}/@crib%2Fdemo`,
  )
  const urllib = 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])'
  await expect(client.run('python3', ['-c', urllib, 'https://elsewhere.example/v1'])).rejects.toThrow(
    '403 host_not_allowed: ask an admin: toolcrib egress allow orders GET https://elsewhere.example',
  )
})
