import { execFileSync, spawn } from 'node:child_process'
import { accessSync, constants, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { detectIsolation } from '../../src/runners/index.ts'

/** Why this machine cannot run a test, what helps, and what to set for the run. */
export interface Lack {
  why: string
  cure: string
  environment?: string
}

/** Looked for once a run, by the global setup: what a test may need besides Node and npm. */
export type Need =
  | 'bubblewrap'
  | 'unshare'
  /** Either of the two. */
  | 'sandbox'
  | 'root'
  /** Root, and a checkout that any other user can run. */
  | 'other users'
  /** User namespaces without a sandbox around them, for what runs inside of one. */
  | 'user namespaces'
  /** A mount namespace in which root can hide programs. */
  | 'mount namespaces'
  /** To read the memory of a process that was started here. */
  | 'memory of others'
  | 'chromium'
  | 'curl'
  | 'openssl'
  | 'git'
  | 'go'
  | 'java'
  | 'cargo'
  | 'deno'
  /** Since its version 2, which is another program than the first. */
  | 'yarn'
  | 'pip'
  | 'python'
  /** A Python with requests and aiohttp. */
  | 'python clients'
  | 'python httplib2'
  | 'python boto3'
  | 'wget'
  | 'perl lwp'
  /** PHP with curl. */
  | 'php'
  | 'ip'
  /** More than a minute for one test. */
  | 'patience'

/** All that is lacking here; what is there is left out. */
export type Lacking = Partial<Record<Need, Lack>>

/** Where `name` lies in this PATH, if it can be run. */
export function findProgram(name: string): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => mayRun(path))
}

/** The first Python that has these modules, the PATH's before the system's. */
export function findPython(modules: string): string | undefined {
  const found = [findProgram('python3'), '/usr/bin/python3']
  return found.find((path) => path !== undefined && mayRun(path) && runs(path, '-c', `import ${modules}`))
}

/** The browser of the browser tests; CHROMIUM names another one. */
export function findChromium(): string | undefined {
  const named = process.env['CHROMIUM']
  if (named === undefined) return findProgram('chromium')
  return mayRun(named) ? named : undefined
}

/** Looks at the machine as it is now: programs by PATH, rights and namespaces by trying them. */
export async function lookAtMachine(): Promise<Lacking> {
  const isRoot = process.getuid?.() === 0
  const { works, refused } = await detectIsolation()
  const isolation = (name: string): Lack | undefined => {
    const found = refused.find((each) => each.isolation === name)
    return found && { why: `${name}: ${found.reason}`, cure: found.cure }
  }
  const root: Lack | undefined = isRoot ? undefined : { why: 'This is not root.', cure: 'Become root.' }
  const namespaces = (flags: string): Lack | undefined =>
    runs('unshare', flags, 'true')
      ? undefined
      : {
          why: `\`unshare ${flags}\` is not there or not allowed.`,
          cure: 'Install util-linux; in a container, allow namespaces as docs/guides/sandboxes.md says.',
        }
  const program = (name: string, packageName: string, found = findProgram(name)): Lack | undefined =>
    found === undefined
      ? { why: `${name} is not installed.`, cure: `Run: apt-get install ${packageName}.` }
      : undefined
  const looked: Record<Need, Lack | undefined> = {
    bubblewrap: isolation('bubblewrap'),
    unshare: isolation('unshare'),
    sandbox: works.length > 0 ? undefined : (isolation('bubblewrap') ?? isolation('unshare')),
    root,
    'other users':
      root ?? (othersMayRun() ? undefined : { why: othersMayNot, cure: 'Put it where others may read.' }),
    'user namespaces': namespaces('-Urnpf'),
    'mount namespaces': root ?? namespaces('-m'),
    'memory of others': (await mayReadMemory())
      ? undefined
      : { why: 'This user may not read /proc/<pid>/mem.', cure: 'Become root.' },
    chromium: program('chromium', 'chromium', findChromium()),
    curl: program('curl', 'curl'),
    openssl: program('openssl', 'openssl'),
    git: program('git', 'git'),
    go: program('go', 'golang-go'),
    java: program('java', 'default-jdk-headless'),
    cargo: program('cargo', 'cargo'),
    deno:
      findProgram('deno') === undefined
        ? { why: 'deno is not installed.', cure: 'Run: npm install --global deno.' }
        : undefined,
    yarn: runs('sh', '-c', 'yarn --version | grep -q "^[2-9]"')
      ? undefined
      : {
          why: 'No Yarn since version 2 is installed.',
          cure: 'Run: npm install --global @yarnpkg/cli-dist.',
        },
    pip: program('pip', 'python3-pip', findPython('pip')),
    python: program('python3', 'python3'),
    'python clients':
      findPython('requests, aiohttp') === undefined
        ? {
            why: 'No Python with requests and aiohttp is installed.',
            cure: 'Run: apt-get install python3-requests python3-aiohttp.',
          }
        : undefined,
    'python httplib2':
      findPython('httplib2, socks') === undefined
        ? {
            why: 'No Python with httplib2 and what it needs for proxies is installed.',
            cure: 'Run: apt-get install python3-httplib2 python3-socks.',
          }
        : undefined,
    'python boto3': program('A Python with boto3', 'python3-boto3', findPython('boto3')),
    wget: program('wget', 'wget'),
    'perl lwp': runs('perl', '-MLWP::Protocol::https', '-e', '1')
      ? undefined
      : {
          why: 'No Perl with LWP for https is installed.',
          cure: 'Run: apt-get install liblwp-protocol-https-perl.',
        },
    php: runs('php', '-r', 'exit(function_exists("curl_init") ? 0 : 1);')
      ? undefined
      : { why: 'No PHP with curl is installed.', cure: 'Run: apt-get install php-cli php-curl.' },
    ip: program('ip', 'iproute2'),
    patience:
      process.env['TOOLCRIB_SLOW'] === '1'
        ? undefined
        : { why: 'It takes more than a minute.', cure: '', environment: 'TOOLCRIB_SLOW=1' },
  }
  return Object.fromEntries(Object.entries(looked).filter(([, lack]) => lack !== undefined))
}

function mayRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function runs(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore', timeout: 10_000 })
    return true
  } catch {
    return false
  }
}

const othersMayNot = 'Another user cannot run what lies in this checkout.'

function othersMayRun(): boolean {
  for (let at = dirname(process.execPath); at !== dirname(at); at = dirname(at))
    if ((statSync(at).mode & 0o001) === 0) return false
  return runs('setpriv', '--version')
}

async function mayReadMemory(): Promise<boolean> {
  const child = spawn('/bin/sh', ['-c', 'echo up; read -r end'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const exited = new Promise((resolve) => child.once('close', resolve))
  try {
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const [start] = /^[0-9a-f]+/.exec(readFileSync(`/proc/${child.pid}/maps`, 'utf8')) ?? []
    const memory = openSync(`/proc/${child.pid}/mem`, 'r')
    return readSync(memory, Buffer.alloc(1), 0, 1, Number.parseInt(start ?? '', 16)) === 1
  } catch {
    return false
  } finally {
    child.stdin.end()
    await exited
  }
}
