import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Log } from '../../core/index.ts'
import type { Crowd } from '../bounds/crowd.ts'
import type { Limit } from '../bounds/limits.ts'
import { decideTunnel } from '../decision/decide.ts'
import { type DenialReason, denialStatus } from '../decision/denial.ts'
import type { RuleBook } from '../decision/rules.ts'
import type { Leaves } from '../keys/certificates.ts'
import { type Identity, type Leases, parseBasic } from '../leases/leases.ts'
import type { Live } from '../leases/live.ts'
import type { Recorder } from '../records/record.ts'
import { type Head, headerValues } from '../request/head.ts'
import { connectTarget, forwardTarget, tunnelTarget } from '../request/tuple.ts'
import type { EgressLimits } from '../types.ts'
import { type Asked, answerDenial, askedRaw, connectDenial, type Denier } from './deny.ts'
import type { Exchange } from './exchange.ts'
import { createTunnelTable, openTunnel } from './tunnel.ts'

export interface FrontDeps {
  leases: Leases
  denier: Denier
  recorder: Recorder
  rulesAt: (version: number) => Promise<RuleBook>
  leaves: Leaves
  tunnels: Limit
  crowd: Crowd
  live: Live
  exchange: (exchange: Exchange) => Promise<void>
  limits: EgressLimits
  log: Log
}

/**
 * What sandboxes speak to. `makeOuter` is a forward proxy's face: CONNECT, and absolute-form for plain http. All
 * tunnels' decrypted sockets share one inner server, which never listens.
 */
export function createFront(deps: FrontDeps): { makeOuter(): Server } {
  const { limits } = deps
  const table = createTunnelTable()
  const inner = makeInner()

  function settings() {
    return {
      maxHeaderSize: limits.headerBytes,
      requireHostHeader: false,
      noDelay: true,
      requestTimeout: 0,
      headersTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: 1_000,
    }
  }

  function makeInner(): Server {
    const server = createServer({ ...settings(), keepAliveTimeout: limits.tunnelIdleTimeoutMs })
    server.timeout = limits.idleTimeoutMs
    server.maxHeadersCount = 0
    const handle = (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean) => {
      const tunnel = table.get(req.socket)
      if (tunnel === undefined) {
        req.socket.destroy()
        return
      }
      tunnel.began()
      void deps.leases
        .current(tunnel.identity.secretSha256)
        .then(
          async (identity) => {
            // The lease is gone: so is the tunnel.
            if (identity === undefined) return tunnel.end()
            const canonical = tunnelTarget(headOf(req), tunnel.destination)
            await deps.exchange({ req, res, identity, canonical, scheme: 'https', expectsContinue })
          },
          () => answerDenial(req, res, unavailable(tunnel.identity), askedRaw(req, 'https')),
        )
        .catch((err: unknown) => {
          deps.log.error({ err }, 'egress request failed')
          req.socket.destroy()
        })
        .finally(() => tunnel.ended())
    }
    server.on('request', (req, res) => handle(req, res, false))
    server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => handle(req, res, true))
    server.on('connect', (req, socket) => {
      const tunnel = table.get(req.socket)
      if (tunnel !== undefined)
        deps.denier.deny(tunnel.identity, askedRaw(req, 'https'), 'connect_in_tunnel', 'request')
      socket.destroy()
    })
    server.on('clientError', (_error, socket) => {
      const tunnel = table.get(socket)
      if (tunnel !== undefined)
        deps.denier.deny(tunnel.identity, unread(tunnel.destination), 'parse_error', 'request')
      refuseBytes(socket)
    })
    return server
  }

  function makeOuter(): Server {
    const server = createServer({ ...settings(), keepAliveTimeout: limits.tunnelIdleTimeoutMs })
    server.timeout = limits.idleTimeoutMs
    server.maxHeadersCount = 0
    server.on('connection', (socket) => deps.crowd.arrived(socket))
    const handle = async (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean) => {
      deps.crowd.spoke(req.socket)
      const identity = await identify(req)
      if (typeof identity === 'string') {
        const asked = askedRaw(req, 'http')
        return answerDenial(req, res, strangerDenial(req, asked, identity), asked)
      }
      const full = deps.crowd.named(req.socket, identity.principalId)
      if (full !== undefined) {
        res.setHeader('connection', 'close')
        const asked = askedRaw(req, 'http')
        const reason = full === 'principal' ? 'too_many_requests' : 'proxy_overloaded'
        return answerDenial(req, res, deps.denier.deny(identity, asked, reason, 'limit'), asked)
      }
      const canonical = forwardTarget(headOf(req))
      await deps.exchange({ req, res, identity, canonical, scheme: 'http', expectsContinue })
    }
    const start = (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean) => {
      handle(req, res, expectsContinue).catch((err: unknown) => {
        deps.log.error({ err }, 'egress request failed')
        req.socket.destroy()
      })
    }
    server.on('request', (req, res) => start(req, res, false))
    server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => start(req, res, true))
    server.on('connect', (req, stream, head) => {
      const socket = stream as Socket
      socket.on('error', () => socket.destroy())
      connect(req, socket, head).catch((err: unknown) => {
        deps.log.error({ err }, 'tunnel failed')
        if (socket.bytesWritten > 0) socket.destroy()
        else socket.end(connectDenial(unavailable(undefined), askedRaw(req, 'https')))
      })
    })
    server.on('clientError', (_error, socket) => refuseBytes(socket))
    return server
  }

  async function connect(req: IncomingMessage, socket: Socket, early: Buffer): Promise<void> {
    socket.setTimeout(0)
    deps.crowd.spoke(socket)
    const identity = await identify(req)
    const raw = askedRaw(req, 'https')
    if (typeof identity === 'string') {
      socket.end(connectDenial(strangerDenial(req, raw, identity), raw))
      return
    }
    const canonical = connectTarget(headOf(req))
    const asked = canonical.ok ? { ...raw, ...canonical.destination } : raw
    const refuse = (reason: DenialReason, rule: string) =>
      socket.end(connectDenial(deps.denier.deny(identity, asked, reason, rule), asked))
    const full = deps.crowd.named(socket, identity.principalId)
    if (full === 'principal') return void refuse('too_many_tunnels', 'limit')
    if (full === 'total') return void refuse('proxy_overloaded', 'limit')
    if (!canonical.ok) return void refuse(canonical.reason, 'request')
    if (early.length > 0) return void refuse('tunnel_early_data', 'request')
    const { destination } = canonical
    const book = await deps.rulesAt(identity.catalogVersion)
    const decision = decideTunnel(destination, book.rules.get(identity.sourceId) ?? [])
    if (!decision.allow) return void refuse(decision.reason, decision.rule)
    const place = deps.tunnels.take(identity.principalId)
    if (place === 'principal') return void refuse('too_many_tunnels', 'limit')
    if (place === 'total') return void refuse('proxy_overloaded', 'limit')
    let leave: (() => void) | undefined
    try {
      const context = await deps.leaves.contextFor(destination.host, book.hosts)
      if (socket.destroyed) return place()
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      const tunnel = openTunnel({
        socket,
        identity,
        destination,
        context,
        handshakeTimeoutMs: limits.handshakeTimeoutMs,
        idleTimeoutMs: limits.tunnelIdleTimeoutMs,
        ready(secured, opened) {
          table.set(secured, opened)
          inner.emit('connection', secured)
        },
        refused: (reason) => void deps.denier.deny(identity, asked, reason, 'tunnel'),
        closed() {
          leave?.()
          place()
        },
      })
      leave = deps.live.add({
        identity,
        allowed: (rules) => decideTunnel(destination, rules).allow,
        end: () => tunnel.end(),
      })
    } catch (err) {
      place()
      throw err
    }
  }

  async function identify(req: IncomingMessage): Promise<Identity | 'stranger' | 'unavailable'> {
    const presented = headerValues(req.rawHeaders, 'proxy-authorization')
    if (presented.length > 1) return 'stranger'
    try {
      return (await deps.leases.identify(presented[0])) ?? 'stranger'
    } catch (err) {
      deps.log.warn({ err }, 'a lease could not be checked')
      return 'unavailable'
    }
  }

  function strangerDenial(req: IncomingMessage, asked: Asked, why: 'stranger' | 'unavailable') {
    if (why === 'unavailable') return unavailable(undefined)
    const presented = parseBasic(headerValues(req.rawHeaders, 'proxy-authorization')[0])
    return deps.denier.denyStranger(asked, presented?.sourceId ?? '')
  }

  return { makeOuter }
}

function headOf(req: IncomingMessage): Head {
  return {
    method: req.method ?? '',
    target: req.url ?? '',
    httpVersion: req.httpVersion,
    rawHeaders: req.rawHeaders,
  }
}

function unavailable(identity: Identity | undefined) {
  const reason = 'leases_unavailable'
  return {
    status: denialStatus(reason),
    reason,
    rule: 'lease',
    host: '',
    source: identity?.sourceId ?? '',
  } as const
}

function unread({ host, port }: { host: string; port: number }): Asked {
  return { scheme: 'https', host, port, method: '', path: '' }
}

/** What could not be parsed gets a constant answer: none of its bytes are worth quoting. */
function refuseBytes(socket: { writable: boolean; end(text: string): unknown; destroy(): unknown }): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  socket.end(
    'HTTP/1.1 400 Bad Request\r\nconnection: close\r\nx-toolcrib-denied: parse_error\r\ncontent-length: 0\r\n\r\n',
  )
}
