/** Programs that check a certificate as they do in a sandbox; each says whether it would speak to the server. */
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { trustStore } from '../../src/toolhost/pkcs12.ts'
import type { Need } from './machine.ts'

const run = promisify(execFile)

export interface TlsClient {
  name: string
  needs: Need[]
  /** 'accepted', or why not. `ca` is what it trusts, PEM. */
  verdict(server: { host: string; port: number; ca: string }): Promise<string>
}

const python = `import socket, ssl, sys
host, port, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
context.wrap_socket(socket.create_connection(('127.0.0.1', int(port))), server_hostname=host)`

const go = `package main
import ("crypto/tls"; "crypto/x509"; "fmt"; "os")
func main() {
	pem, _ := os.ReadFile(os.Args[3])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	_, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[2], &tls.Config{ServerName: os.Args[1], RootCAs: roots})
	if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) }
}`

const java = `import java.net.*; import javax.net.ssl.*;
public class Client { public static void main(String[] args) throws Exception {
  Socket plain = new Socket("127.0.0.1", Integer.parseInt(args[1]));
  SSLSocket socket = (SSLSocket) ((SSLSocketFactory) SSLSocketFactory.getDefault()).createSocket(plain, args[0], 443, true);
  SSLParameters parameters = socket.getSSLParameters();
  parameters.setEndpointIdentificationAlgorithm("HTTPS");
  socket.setSSLParameters(parameters);
  socket.startHandshake();
} }`

async function verdictOf(command: string, args: string[]): Promise<string> {
  try {
    const running = run(command, args, { timeout: 60_000, env: { ...process.env, GOFLAGS: '' } })
    running.child.stdin?.end()
    await running
    return 'accepted'
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    return `refused: ${stderr ?? ''}${stdout ?? ''}`
  }
}

/** With the trust written to files, and each program built once. */
export async function tlsClients(): Promise<TlsClient[] & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-tls-clients-'))
  const file = async (name: string, text: string | Buffer) => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  }
  let built: Promise<unknown> | undefined
  const clients: TlsClient[] = [
    {
      name: 'Node',
      needs: [],
      verdict: ({ host, port, ca }) =>
        new Promise((resolve) => {
          const socket = connect({ host: '127.0.0.1', port, servername: host, ca })
          socket.once('secureConnect', () => resolve('accepted'))
          socket.once('error', (error) => resolve(`refused: ${error.message}`))
          socket.once('close', () => resolve('refused: closed'))
          socket.once('secureConnect', () => socket.end())
        }),
    },
    {
      name: 'OpenSSL, strict',
      needs: ['openssl'],
      verdict: async ({ host, port, ca }) =>
        await verdictOf('openssl', [
          's_client',
          ...`-connect 127.0.0.1:${port} -servername ${host} -verify_hostname ${host}`.split(' '),
          ...`-CAfile ${await file('ca.pem', ca)} -x509_strict -verify_return_error -brief`.split(' '),
        ]),
    },
    {
      name: 'Python, strict',
      needs: ['python'],
      verdict: async ({ host, port, ca }) =>
        await verdictOf('python3', ['-c', python, host, String(port), await file('ca.pem', ca)]),
    },
    {
      name: 'Go',
      needs: ['go'],
      verdict: async ({ host, port, ca }) => {
        const program = join(folder, 'client')
        built ??= run('go', ['build', '-o', program, await file('client.go', go)])
        await built
        return await verdictOf(program, [host, String(port), await file('ca.pem', ca)])
      },
    },
    {
      name: 'Java',
      needs: ['java'],
      verdict: async ({ host, port, ca }) =>
        await verdictOf('java', [
          `-Djavax.net.ssl.trustStore=${await file('ca.p12', trustStore([new X509Certificate(ca).raw]))}`,
          '-Djavax.net.ssl.trustStoreType=PKCS12',
          await file('Client.java', java),
          host,
          String(port),
        ]),
    },
  ]
  return Object.assign(clients, {
    [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true, force: true }),
  })
}
