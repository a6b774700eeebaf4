import { randomBytes } from 'node:crypto'
import { AppError, type Log } from '../../core/index.ts'
import { assemble } from '../assemble.ts'
import { createLeaves, generateAuthority, importAuthority } from '../keys/certificates.ts'
import { startProxy, startUpstream } from './world.ts'

/** After so many, what a request needs is compiled: the first real one takes a tenth of the time it would. */
const hosts = Array.from({ length: 12 }, (_, n) => `host-${n}.self-test.invalid`)
const unnamed = 'unnamed.self-test.invalid'
const deadlineMs = 10_000

/**
 * Has a proxy made of the same parts do its work over the wire, before any of it is trusted: a credential is added
 * and replaces the caller's own, what comes back of it is masked, a host that no rule names is refused, and all is
 * recorded. Everything else is made for this and gone after it: the CA, the lease, the credential, an upstream and
 * two ports of loopback. Throws `internal` when the proxy fails; where it cannot be tried, that is only logged.
 * `build` is what puts the parts together.
 */
export async function selfTest(log: Log, build: typeof assemble = assemble): Promise<void> {
  await using world = new AsyncDisposableStack()
  const began = performance.now()
  const deadline = Promise.withResolvers<never>()
  const timer = setTimeout(() => deadline.reject(new Error('it took too long')), deadlineMs)
  try {
    await Promise.race([tryAll(world, build), deadline.promise])
    log.debug({ ms: Math.round(performance.now() - began) }, 'self-test passed')
  } catch (err) {
    if (err instanceof AppError) throw err
    log.warn({ err }, 'the self-test could not be done')
  } finally {
    clearTimeout(timer)
  }
}

async function tryAll(world: AsyncDisposableStack, build: typeof assemble): Promise<void> {
  const pem = await generateAuthority(Date.now())
  const authority = await importAuthority(pem.certificatePem, pem.keyPem)
  const leaves = await createLeaves({ authority, now: Date.now, cacheSize: hosts.length })
  const key = randomBytes(24).toString('base64url')
  const seen: string[] = []
  const upstream = world.use(await startUpstream({ leaves, hosts, seen }))
  const written: string[] = []
  const proxy = world.use(
    await startProxy(build, { leaves, hosts, ca: pem.certificatePem, port: upstream.port, key, written }),
  )

  const refusal = await proxy.ask(unnamed)
  must(refusal.startsWith('HTTP/1.1 403 ') && seen.length === 0, 'refuse what no rule names')
  for (const host of hosts) {
    const answers = await proxy.ask(host)
    if (answers.split('HTTP/1.1 200 OK').length !== 3)
      throw new Error(`no answer but ${answers.split('\r\n')[0]}`)
    must(seen.splice(0).join() === `Bearer ${key},Bearer ${key}`, 'add a credential')
    must(
      !answers.includes(key) && answers.includes('*'.repeat(key.length)),
      'mask a credential that comes back',
    )
  }
  const twice = hosts.length * 2
  const allowed = written.filter((line) => line === 'allowed').length
  const masked = written.filter((line) => line === 'masked 2').length
  must(allowed === twice && masked === twice && written.includes('denied'), 'record what it does')
}

function must(holds: boolean, what: string): void {
  if (!holds)
    throw new AppError('internal', `the egress proxy did not ${what} in its self-test, and does not start`)
}
