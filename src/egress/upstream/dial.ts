import { connect, type Socket } from 'node:net'

/** Opens a TCP connection to exactly this address; rejects within `timeoutMs`. */
export type Dial = (to: { address: string; port: number; timeoutMs: number }) => Promise<Socket>

export const systemDial: Dial = ({ address, port, timeoutMs }) =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, noDelay: true, timeout: timeoutMs })
    const fail = (error: Error) => {
      socket.destroy()
      reject(error)
    }
    socket.once('error', fail)
    const late = () => fail(new Error('connecting took too long'))
    socket.once('timeout', late)
    socket.once('connect', () => {
      socket.setTimeout(0, late)
      socket.removeListener('error', fail)
      resolve(socket)
    })
  })
