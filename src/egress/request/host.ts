import { canonicalHost, schemePort } from '../../catalog/index.ts'

/** An authority in canonical form; `port` is undefined when none was written. */
export type Authority =
  | { ok: true; host: string; port: number | undefined }
  | { ok: false; userinfo: boolean }

/** Splits `host[:port]`; refuses user information, an empty or padded port, and what `canonicalHost` refuses. */
export function parseAuthority(text: string): Authority {
  if (text.includes('@')) return { ok: false, userinfo: true }
  const refused = { ok: false, userinfo: false } as const
  const match = /^(\[[^\]]*\]|[^:]*)(?::([1-9][0-9]{0,4}))?$/.exec(text)
  if (match?.[1] === undefined) return refused
  const host = canonicalHost(match[1])
  if (!host.ok) return refused
  const port = match[2] === undefined ? undefined : Number(match[2])
  if (port !== undefined && port > 65_535) return refused
  return { ok: true, host: host.host, port }
}

/** A host as it stands before a port: IPv6 gets its brackets back. */
export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

/** `host:port` as it is sent and shown; a scheme's own port is left out. */
export function formatAuthority(scheme: 'http' | 'https', host: string, port: number): string {
  const name = bracketed(host)
  return port === schemePort(scheme) ? name : `${name}:${port}`
}
