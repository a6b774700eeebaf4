import { dirname, join } from 'node:path'
import type { SourceLaunch } from '../wire/index.ts'

export interface SandboxFolders {
  home: string
  temporaryFolder: string
  path: string
  compileCache?: { folder: string; covers: string } | undefined
}

/** How programs find and trust the egress proxy; null parts are left out. */
export interface WayOut {
  relayPort: number | null
  caFile: string | null
  bundleFile: string | null
  javaTrustFile: string | null
  wgetFile: string | null
  phpFolder: string | null
}

/**
 * Names by which programs take their one file of trusted certificates. `AWS_CA_BUNDLE` is none of them: with it Go
 * programs that give AWS's SDK a transport of their own, such as rclone, do not start, and boto3 takes Requests' too.
 */
const bundleVariables = [
  'SSL_CERT_FILE',
  'REQUESTS_CA_BUNDLE',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'CARGO_HTTP_CAINFO',
  'PIP_CERT',
  'DENO_CERT',
  'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
  'HTTPLIB2_CA_CERTS',
  'PERL_LWP_SSL_CA_FILE',
]

/**
 * The whole environment of a source: nothing of the toolhost's own gets in. The way out comes last, so that a
 * source's configuration cannot lose it by accident; what it could gain by losing it is nothing.
 */
export function sourceEnvironment(
  launch: SourceLaunch,
  folders: SandboxFolders,
  way: WayOut,
): Record<string, string> {
  return {
    PATH: `${dirname(process.execPath)}:${folders.path}`,
    HOME: folders.home,
    TMPDIR: folders.temporaryFolder,
    LANG: 'C.UTF-8',
    NODE_COMPILE_CACHE: compileCache(launch, folders),
    ...launch.environment,
    ...proxyVariables(launch, way),
    ...trustVariables(way),
    ...phpVariables(launch, way),
    ...javaVariables(launch, way),
  }
}

function proxyVariables(launch: SourceLaunch, way: WayOut): Record<string, string> {
  if (way.relayPort === null) return {}
  const user = encodeURIComponent(launch.id)
  const proxy = `http://${user}:${encodeURIComponent(launch.lease)}@127.0.0.1:${way.relayPort}`
  return {
    HTTP_PROXY: proxy,
    HTTPS_PROXY: proxy,
    http_proxy: proxy,
    https_proxy: proxy,
    // Python looks for the proxy of a WebSocket under its own scheme, aiohttp there alone.
    WSS_PROXY: proxy,
    wss_proxy: proxy,
    // Since its version 2 Yarn looks under names of its own alone.
    YARN_HTTP_PROXY: proxy,
    YARN_HTTPS_PROXY: proxy,
    NO_PROXY: '',
    no_proxy: '',
    NODE_USE_ENV_PROXY: '1',
  }
}

function trustVariables(way: WayOut): Record<string, string> {
  const { bundleFile, wgetFile } = way
  return {
    ...(way.caFile !== null && { NODE_EXTRA_CA_CERTS: way.caFile }),
    ...(wgetFile !== null && { SYSTEM_WGETRC: wgetFile }),
    ...(bundleFile !== null && Object.fromEntries(bundleVariables.map((name) => [name, bundleFile]))),
  }
}

/** What is read last holds; a folder without a name is the one that PHP reads by itself. */
function phpVariables(launch: SourceLaunch, { phpFolder }: WayOut): Record<string, string> {
  if (phpFolder === null) return {}
  return { PHP_INI_SCAN_DIR: `${launch.environment['PHP_INI_SCAN_DIR'] ?? ''}:${phpFolder}` }
}

/**
 * Java takes neither a PEM file nor the proxy from variables of their own. What it has no option for is the proxy's
 * user: a program gives the lease, from HTTPS_PROXY, by an Authenticator, and by default may not do so for https.
 */
function javaVariables(launch: SourceLaunch, way: WayOut): Record<string, string> {
  if (way.javaTrustFile === null || way.relayPort === null) return {}
  const properties = {
    'javax.net.ssl.trustStore': way.javaTrustFile,
    'javax.net.ssl.trustStoreType': 'PKCS12',
    'http.proxyHost': '127.0.0.1',
    'http.proxyPort': way.relayPort,
    'https.proxyHost': '127.0.0.1',
    'https.proxyPort': way.relayPort,
    'http.nonProxyHosts': '',
    'jdk.http.auth.tunneling.disabledSchemes': '',
  }
  const options = Object.entries(properties).map(([name, value]) => `-D${name}=${value}`)
  const own = launch.environment['JAVA_TOOL_OPTIONS']
  return { JAVA_TOOL_OPTIONS: [...(own === undefined ? [] : [own]), ...options].join(' ') }
}

/** Halves the start of sources written for Node; where there is none yet, the home keeps one for the next life. */
function compileCache(launch: SourceLaunch, { compileCache: shared, home }: SandboxFolders): string {
  const isCovered = shared !== undefined && launch.args[0]?.startsWith(shared.covers) === true
  return isCovered ? shared.folder : join(home, '.cache', 'node-compile')
}
