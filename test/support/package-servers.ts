/**
 * What programs fetch from: a git server, an npm registry, a Python index and a cargo registry, each with one small
 * package and as far as the program asks. They lie in serving nothing else, and demand a credential.
 */
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { findPython } from './machine.ts'

/** Answers 401 to whoever does not show the credential. */
export function demanding(authorization: string, handle: RequestListener): RequestListener {
  return (req, res) => {
    if (req.headers.authorization === authorization) return handle(req, res)
    req.resume()
    res.writeHead(401).end('no credential')
  }
}

/** Smart HTTP by git's own CGI program, for clone, fetch and push of what lies in `root`. */
export function gitServer(root: string): RequestListener {
  return (req, res) => {
    const { pathname, search } = new URL(req.url ?? '', 'http://x')
    const backend = spawn('git', ['http-backend'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: {
        PATH: process.env['PATH'],
        GIT_PROJECT_ROOT: root,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_PROTOCOL: String(req.headers['git-protocol'] ?? ''),
        REMOTE_USER: 'alice',
        REQUEST_METHOD: req.method,
        PATH_INFO: pathname,
        QUERY_STRING: search.slice(1),
        CONTENT_TYPE: req.headers['content-type'] ?? '',
        HTTP_CONTENT_ENCODING: req.headers['content-encoding'] ?? '',
        ...(req.headers['content-length'] !== undefined && { CONTENT_LENGTH: req.headers['content-length'] }),
      },
    })
    backend.stdin.on('error', () => undefined)
    req.pipe(backend.stdin)
    answerCgi(backend.stdout, res)
  }
}

function answerCgi(output: NodeJS.ReadableStream, res: ServerResponse): void {
  let head = Buffer.alloc(0)
  const read = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end === -1) return
    output.off('data', read)
    let status = 200
    for (const line of head.subarray(0, end).toString('latin1').split('\r\n')) {
      const [name = '', value = ''] = line.split(/:\s*/, 2)
      if (name.toLowerCase() === 'status') status = Number(value.slice(0, 3))
      else res.setHeader(name, value)
    }
    res.writeHead(status)
    res.write(head.subarray(end + 4))
    output.pipe(res)
  }
  output.on('data', read)
}

/** A gzipped tar of these files. */
function tarball(files: Record<string, string>): Buffer {
  const blocks = Object.entries(files).flatMap(([name, text]) => {
    const header = Buffer.alloc(512)
    const put = (at: number, value: string) => header.write(value, at, 'latin1')
    put(0, name)
    put(100, '0000644\0')
    put(108, '0000000\0')
    put(116, '0000000\0')
    put(124, `${Buffer.byteLength(text).toString(8).padStart(11, '0')}\0`)
    put(136, '00000000000\0')
    put(148, '        ')
    put(156, '0')
    put(257, 'ustar\0')
    put(263, '00')
    const sum = header.reduce((total, byte) => total + byte, 0)
    put(148, `${sum.toString(8).padStart(6, '0')}\0 `)
    const body = Buffer.alloc(Math.ceil(Buffer.byteLength(text) / 512) * 512)
    body.write(text)
    return [header, body]
  })
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1_024)]))
}

/** The npm package `@crib/demo` 1.0.0; `url` is where the registry will be. */
export function npmRegistry(url: () => string): RequestListener {
  const tar = tarball({
    'package/package.json': JSON.stringify({ name: '@crib/demo', version: '1.0.0', main: 'index.js' }),
    'package/index.js': "module.exports = 'from npm'\n",
  })
  const packument = () => ({
    name: '@crib/demo',
    'dist-tags': { latest: '1.0.0' },
    versions: {
      '1.0.0': {
        name: '@crib/demo',
        version: '1.0.0',
        dist: {
          tarball: `${url()}/@crib/demo/-/demo-1.0.0.tgz`,
          integrity: `sha512-${createHash('sha512').update(tar).digest('base64')}`,
        },
      },
    },
  })
  return (req, res) => {
    if (req.url?.toLowerCase() === '/@crib%2fdemo') return sendJson(res, packument())
    if (req.url === '/@crib/demo/-/demo-1.0.0.tgz') return void res.end(tar)
    return notFound(req, res)
  }
}

/** The Python package `crib-demo` 1.0 as a wheel, by the simple index. */
export function pythonIndex(folder: string): RequestListener {
  const wheel = join(folder, 'crib_demo-1.0-py3-none-any.whl')
  const info = 'crib_demo-1.0.dist-info'
  const files = {
    'crib_demo.py': "said = 'from pip'\n",
    [`${info}/METADATA`]: 'Metadata-Version: 2.1\nName: crib-demo\nVersion: 1.0\n',
    [`${info}/WHEEL`]: 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    [`${info}/RECORD`]: `crib_demo.py,,\n${info}/METADATA,,\n${info}/WHEEL,,\n${info}/RECORD,,\n`,
  }
  execFileSync(findPython('zipfile') ?? 'python3', [
    '-c',
    'import json, sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], "w") as z:\n  for name, text in json.loads(sys.argv[2]).items(): z.writestr(name, text)',
    wheel,
    JSON.stringify(files),
  ])
  return (req, res) => {
    if (req.url === '/simple/crib-demo/')
      return void res
        .setHeader('content-type', 'text/html')
        .end('<a href="../../files/crib_demo-1.0-py3-none-any.whl">crib_demo-1.0-py3-none-any.whl</a>')
    if (req.url === '/files/crib_demo-1.0-py3-none-any.whl') return void res.end(readFileSync(wheel))
    return notFound(req, res)
  }
}

/** The crate `crib-demo` 1.0.0, by a sparse index; `url` is where the registry will be. */
export function cargoRegistry(url: () => string): RequestListener {
  const crate = tarball({
    'crib-demo-1.0.0/Cargo.toml': '[package]\nname = "crib-demo"\nversion = "1.0.0"\nedition = "2021"\n',
    'crib-demo-1.0.0/src/lib.rs': 'pub fn said() -> &\'static str { "from cargo" }\n',
  })
  const entry = {
    name: 'crib-demo',
    vers: '1.0.0',
    deps: [],
    cksum: createHash('sha256').update(crate).digest('hex'),
    features: {},
    yanked: false,
  }
  return (req, res) => {
    if (req.url === '/index/config.json') return sendJson(res, { dl: `${url()}/crates` })
    if (req.url === '/index/cr/ib/crib-demo') return void res.end(`${JSON.stringify(entry)}\n`)
    if (req.url === '/crates/crib-demo/1.0.0/download') return void res.end(crate)
    return notFound(req, res)
  }
}

/** A Rust package in `folder` that depends on the registry's crate. */
export function writeCargoProject(folder: string, registry: string): void {
  mkdirSync(join(folder, 'src'), { recursive: true })
  mkdirSync(join(folder, '.cargo'), { recursive: true })
  writeFileSync(
    join(folder, 'Cargo.toml'),
    '[package]\nname = "uses"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\ncrib-demo = { version = "1", registry = "crib" }\n',
  )
  writeFileSync(join(folder, 'src', 'main.rs'), 'fn main() {}\n')
  writeFileSync(
    join(folder, '.cargo', 'config.toml'),
    `[registries.crib]\nindex = "sparse+${registry}/index/"\n`,
  )
}

function sendJson(res: ServerResponse, body: object): void {
  res.setHeader('content-type', 'application/json').end(JSON.stringify(body))
}

function notFound(req: IncomingMessage, res: ServerResponse): void {
  req.resume()
  res.writeHead(404).end()
}
