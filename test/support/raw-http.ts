/** HTTP/1.1 written by hand, for what no client library would send. */
import type { Socket } from 'node:net'

export function basic(source: string, lease: string): string {
  return `Basic ${Buffer.from(`${source}:${lease}`).toString('base64')}`
}

export function connectRequest(host: string, port: number, source: string, lease: string): string {
  return `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\nProxy-Authorization: ${basic(source, lease)}\r\n\r\n`
}

/** Writes, and resolves with what has come back once a head (and its body by length) is whole or the other end closed. */
export function sayAndRead(socket: Socket, text: string, timeoutMs = 15_000): Promise<string> {
  return new Promise((resolve, reject) => {
    let got = ''
    const finish = () => {
      clearTimeout(timer)
      socket.removeListener('data', onData)
      socket.removeListener('close', finish)
      resolve(got)
    }
    const onData = (chunk: Buffer) => {
      got += chunk.toString('latin1')
      const end = got.indexOf('\r\n\r\n')
      if (end === -1) return
      const head = got.slice(0, end)
      const length = /content-length: (\d+)/i.exec(head)?.[1]
      const body = got.slice(end + 4)
      if (/transfer-encoding: chunked/i.test(head)) {
        if (/(?:^|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n$/.test(body)) finish()
      } else if (length === undefined || body.length >= Number(length)) finish()
    }
    const timer = setTimeout(
      () => reject(new Error(`nothing whole within ${timeoutMs} ms: ${got}`)),
      timeoutMs,
    )
    socket.on('data', onData)
    socket.on('close', finish)
    socket.write(text, 'latin1')
  })
}

/** A GET or POST inside a tunnel, written by hand. */
export function request(
  host: string,
  port: number,
  path: string,
  extra: string[] = [],
  method = 'GET',
  body = '',
): string {
  const length = body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]
  const authority = port === 443 ? host : `${host}:${port}`
  return [`${method} ${path} HTTP/1.1`, `Host: ${authority}`, ...extra, ...length, '', body].join('\r\n')
}
