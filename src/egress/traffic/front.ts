import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { toAppError } from '../../core/index.ts'
import { readFairly } from '../bounds/fair-reading.ts'
import { createRounds } from '../bounds/rounds.ts'
import { endOwing, hearsMore, inTurn, owesAnswer } from '../inbound/due-answers.ts'
import { Http1Inbound } from '../inbound/http1.ts'
import { endSaying } from '../inbound/last-words.ts'
import { connectDenial } from './answer-denial.ts'
import { askedRaw } from './asked.ts'
import type { CameFrom } from './caller.ts'
import { type ConnectDeps, createConnectHandler } from './connect.ts'
import { contained } from './contained.ts'
import { createForwardHandler } from './forward.ts'
import { createInner } from './inner.ts'
import type { InnerDeps } from './inner-request.ts'
import { makeServer, notConsumed, refuseBytes, saidBy } from './server.ts'

export type FrontDeps = Omit<InnerDeps & ConnectDeps, 'cameFrom' | 'inner' | 'rounds'>

/** What sandboxes speak to. `makeOuter` is a forward proxy's face: CONNECT, and absolute-form for plain http. */
export interface Front {
  makeOuter(cameFrom: CameFrom): Server
  close(): void
}

/** All tunnels' decrypted sockets share one inner server, which never listens. */
export function createFront(deps: FrontDeps): Front {
  const rounds = createRounds()
  const inner = createInner({ ...deps, rounds })
  const nameless = deps.share.of('nameless')

  function makeOuter(cameFrom: CameFrom): Server {
    const forward = createForwardHandler({ ...deps, cameFrom })
    const connect = createConnectHandler({ ...deps, inner, rounds, cameFrom })
    const server = makeServer(deps.limits)
    server.on('connection', (socket) => {
      deps.crowd.arrived(socket)
      readFairly(socket, nameless)
      notConsumed(socket)
    })
    const requests = (expectsContinue: boolean) =>
      contained(
        deps.log,
        (req: IncomingMessage, res: ServerResponse) => {
          if (!hearsMore(req)) return
          const inbound = new Http1Inbound(req, res, expectsContinue)
          inTurn(req.socket, inbound, () => {
            // Its answer has nowhere to go.
            if (!req.socket.writable) return void req.resume()
            forward(req, inbound).catch((err: unknown) => {
              deps.log.error({ err }, 'egress request failed')
              req.socket.destroy()
            })
          })
        },
        (req) => void req.socket.destroy(),
      )
    server.on('request', requests(false))
    server.on('checkContinue', requests(true))
    // Node would answer it itself, and nobody would hear of it.
    server.on('checkExpectation', requests(false))
    server.on('connect', (req, stream, head) => {
      const socket = stream as Socket
      socket.on('error', () => socket.destroy())
      // What stands behind the last answer is not heard.
      if (!socket.writable) return void socket.destroy()
      const before = socket.bytesWritten
      connect(req, socket, head).catch((err: unknown) => {
        const reason = toAppError(err).code === 'unavailable' ? 'leases_unavailable' : 'proxy_failed'
        if (reason === 'proxy_failed') deps.log.error({ err }, 'tunnel failed')
        const denial = deps.denier.denyUnrecorded(reason)
        if (socket.bytesWritten > before || owesAnswer(socket)) endOwing(socket)
        else endSaying(socket, connectDenial(denial, askedRaw(saidBy(req), 'https')))
      })
    })
    server.on('clientError', (error, socket) => {
      const reason = refuseBytes(error, socket)
      if (reason !== undefined) deps.denier.denyUnrecorded(reason)
    })
    return server
  }

  return {
    makeOuter,
    close() {
      inner.close()
      rounds.close()
    },
  }
}
