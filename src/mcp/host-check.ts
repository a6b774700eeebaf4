import {
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  validateHostHeader,
  validateOriginHeader,
} from '@modelcontextprotocol/server'
import { RpcError, rpcCodes } from './rpc.ts'

export type HostCheck = (headers: {
  host?: string | undefined
  origin?: string | undefined
}) => RpcError | undefined

/**
 * Refuses a request that a web page made a browser send: its `Host` is not ours (a rebound name), or its
 * `Origin` is a page that was not allowed. Loopback passes always; `*` as a host leaves that half to a proxy.
 */
export function createHostCheck(options: { allowedHosts: string[]; allowedOrigins: string[] }): HostCheck {
  const hosts = [...localhostAllowedHostnames(), ...options.allowedHosts]
  const origins = [...localhostAllowedOrigins(), ...options.allowedOrigins]
  const anyHost = options.allowedHosts.includes('*')
  return ({ host, origin }) => {
    if (!anyHost && !validateHostHeader(host, hosts).ok)
      return new RpcError(
        rpcCodes.forbidden,
        'This server is not addressed by that Host; an admin can add the name to the allowed hosts.',
        { code: 'forbidden' },
      )
    if (origin !== undefined && !validateOriginHeader(origin, origins).ok)
      return new RpcError(
        rpcCodes.forbidden,
        'Web pages of this Origin may not call; an admin can add its host to the allowed origins.',
        { code: 'forbidden' },
      )
    return undefined
  }
}
