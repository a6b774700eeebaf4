import { existsSync, lstatSync, readlinkSync, realpathSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { certificateBundles } from '../../core/index.ts'

/** One thing that a sandbox sees. The order counts: what comes later lies on top. */
export type Mount =
  | { kind: 'ro' | 'rw'; from: string; to: string }
  | { kind: 'symlink'; from: string; to: string }
  | { kind: 'tmpfs'; to: string; bytes: number; mode: string }
  | { kind: 'proc' | 'dev'; to: string }

/** Fixed places inside; the toolhost's settings name them, sources may rely on them. */
export const inside = {
  home: '/home/crib',
  app: '/opt/toolcrib',
  node: '/opt/node/bin/node',
  settings: '/etc/toolcrib/settings.json',
  ca: '/etc/toolcrib/ca.pem',
  sockets: '/run/toolcrib',
  egress: '/run/egress',
  compileCache: '/opt/compile-cache',
  path: '/opt/node/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
} as const

export interface View {
  nodePath: string
  appDir: string
  egressSocketDir: string
  readOnlyPaths: string[]
  /** Never shown, whatever folder they lie in: keys, the database, other people's homes. */
  hiddenPaths: string[]
  home: string
  sockets: string
  /** Holds `settings.json`, `ca.pem`, `trust.pem` and the generated `etc/` files. */
  files: string
  scratchBytes: number
  /** What Node compiled of our programs before; see compile-cache.ts. */
  compileCache: string | undefined
}

/** The parts of the checkout that run inside. Everything else of it (vault, configuration, state) stays outside. */
const appParts = ['src/toolhost', 'src/core', 'src/wire', 'sources', 'node_modules', 'package.json']
const systemFolders = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32']
/** Never /etc whole: it holds the machine's keys, users and mounts. */
const etcParts = [
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'alternatives',
  'localtime',
  'mime.types',
  'protocols',
  'services',
  'ssl/certs',
  'ssl/openssl.cnf',
  'pki/tls/certs',
  'pki/ca-trust/extracted',
  'crypto-policies',
]
export const generatedEtc = ['passwd', 'group', 'hosts', 'resolv.conf', 'nsswitch.conf', 'hostname'] as const

/** All that a sandbox sees, from what this machine has. What is not named here does not exist inside. */
export function planMounts(view: View): Mount[] {
  const readOnly = view.readOnlyPaths.flatMap((path) => like(resolve(path)))
  return [
    ...systemMounts(),
    // The checkout may lie in /usr, as in many a container. An admin may show parts of it, never what is hidden.
    ...covers(systemMounts(), [view.appDir, ...view.hiddenPaths]),
    // Before what an admin shows: some of that may lie below /tmp.
    { kind: 'tmpfs', to: '/dev/shm', bytes: Math.floor(view.scratchBytes / 4), mode: '1777' },
    { kind: 'tmpfs', to: '/tmp', bytes: view.scratchBytes, mode: '1777' },
    { kind: 'symlink', from: '../tmp', to: '/var/tmp' },
    ...readOnly,
    ...covers(readOnly, view.hiddenPaths),
    ...etcParts.flatMap((part) => like(`/etc/${part}`)),
    ...trustMounts(view.files),
    ...generatedEtc.map((file): Mount => ({ kind: 'ro', from: join(view.files, file), to: `/etc/${file}` })),
    ...appParts.flatMap((part) => bound(join(view.appDir, part), `${inside.app}/${part}`)),
    ...bound(view.nodePath, inside.node),
    ...(view.compileCache === undefined ? [] : bound(view.compileCache, inside.compileCache)),
    { kind: 'ro', from: join(view.files, 'settings.json'), to: inside.settings },
    { kind: 'ro', from: join(view.files, 'ca.pem'), to: inside.ca },
    { kind: 'ro', from: realpathSync(view.egressSocketDir), to: inside.egress },
    { kind: 'rw', from: view.sockets, to: inside.sockets },
    { kind: 'rw', from: view.home, to: inside.home },
  ]
}

/**
 * The machine's certificates and the egress proxy's in the place of the machine's own, whatever links lead there.
 * Programs read that file which ask no variable whom to trust: those by libcurl or GnuTLS, Mercurial, Erlang's, R's.
 */
function trustMounts(files: string): Mount[] {
  const places = new Set(
    certificateBundles.filter((path) => existsSync(path)).map((path) => realpathSync(path)),
  )
  return [...places]
    .filter((place) => etcParts.some((part) => isWithin(place, `/etc/${part}`)))
    .map((to): Mount => ({ kind: 'ro', from: join(files, 'trust.pem'), to }))
}

/** Programs, libraries and devices: what the smallest sandbox needs. */
export function systemMounts(): Mount[] {
  return [
    { kind: 'ro', from: '/usr', to: '/usr' },
    ...systemFolders.flatMap((folder) => like(`/${folder}`)),
    { kind: 'proc', to: '/proc' },
    { kind: 'dev', to: '/dev' },
  ]
}

/** Something empty over each of `paths` that one of `mounts` would show. */
function covers(mounts: Mount[], paths: string[]): Mount[] {
  const shown = mounts.flatMap((mount) => (mount.kind === 'ro' ? [mount.from] : []))
  const hidden = paths.flatMap((path) => (existsSync(path) ? [realpathSync(path)] : []))
  return [...new Set(hidden)]
    .filter((path) => shown.some((folder) => isWithin(path, realpathSync(folder))))
    .map((to): Mount => ({ kind: 'tmpfs', to, bytes: 4096, mode: '0755' }))
}

/** The same path inside as outside: a link stays a link (merged /usr), anything else is shown read-only. */
function like(path: string): Mount[] {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return []
  if (stat.isSymbolicLink()) return [{ kind: 'symlink', from: readlinkSync(path), to: path }]
  return [{ kind: 'ro', from: path, to: path }]
}

function bound(path: string, to: string): Mount[] {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat === undefined ? [] : [{ kind: 'ro', from: realpathSync(path), to }]
}

/**
 * A directory to build on: it is covered in the sandbox's own mount namespace only, so any will do that nothing
 * needed lies below.
 */
export function stageFolder(mounts: Mount[], alsoNeeded: string): string | undefined {
  const sources = [
    alsoNeeded,
    ...mounts.flatMap((mount) => (mount.kind === 'ro' || mount.kind === 'rw' ? [mount.from] : [])),
  ]
  return ['/mnt', '/media', '/srv', '/opt', '/var/tmp', '/tmp', '/home'].find((candidate) => {
    const stat = lstatSync(candidate, { throwIfNoEntry: false })
    return stat?.isDirectory() === true && !sources.some((source) => isWithin(source, candidate))
  })
}

/** Where things are found once they were bound below `stage`, and what has to be bound for that. */
export function staged(mounts: Mount[], stage: string): { mounts: Mount[]; binds: [string, string][] } {
  const binds: [string, string][] = []
  const moved = mounts.map((mount): Mount => {
    if (mount.kind !== 'ro' && mount.kind !== 'rw') return mount
    // A state directory below /usr is as closed as anywhere.
    if (mount.from === mount.to && isSystem(mount.from)) return mount
    const from = join(stage, String(binds.length))
    binds.push([mount.from, from])
    return { ...mount, from }
  })
  return { mounts: moved, binds }
}

/** Open to every user of any machine, so there is no need to bind it again. */
function isSystem(path: string): boolean {
  return ['/usr', '/etc', ...systemFolders.map((folder) => `/${folder}`)].some((folder) =>
    isWithin(path, folder),
  )
}

function isWithin(path: string, folder: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if (at === folder) return true
    if (at === dirname(at)) return false
  }
}
