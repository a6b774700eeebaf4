import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '../../core/index.ts'
import type { Isolation } from '../driver.ts'
import { composeCommand } from './compose.ts'
import { launch, tail } from './launch.ts'
import { systemMounts } from './mounts.ts'
import type { LocalDriverOptions, LocalIsolation } from './options.ts'

/** What works on this machine, strongest first, and why the rest does not, with the cure. */
export interface Detection {
  works: Isolation[]
  refused: { isolation: Isolation; reason: string; cure: string }[]
}

const kinds = ['bubblewrap', 'unshare'] as const
/** The user of the trial when this process is root; any unprivileged one shows the same. */
const trialUserId = 200_000
const ranMark = 'the trial ran inside'

/** Tries each isolation by running a tiny sandbox with it. Says the truth about now; a sysctl may change it. */
export async function detectIsolation(): Promise<Detection> {
  const found: Detection = { works: [], refused: [] }
  for (const isolation of kinds) {
    const trouble = await tryIsolation(isolation)
    if (trouble === undefined) found.works.push(isolation)
    else found.refused.push({ isolation, ...(await diagnose(isolation, trouble)) })
  }
  return found
}

/** The isolation to use; throws `isolation_unavailable`, naming every cure, when what is wanted does not work. */
export async function chooseIsolation(
  options: Pick<LocalDriverOptions, 'isolation' | 'log'>,
): Promise<LocalIsolation> {
  const wanted = options.isolation
  if (wanted === 'none') {
    options.log.warn({}, 'isolation is none: tools run with the rights of the gateway')
    return 'none'
  }
  const refused: Detection['refused'] = []
  for (const isolation of wanted === 'auto' ? kinds : [wanted]) {
    const trouble = await tryIsolation(isolation)
    if (trouble === undefined) return isolation
    refused.push({ isolation, ...(await diagnose(isolation, trouble)) })
  }
  const reasons = refused.map(({ isolation, reason, cure }) => `${isolation}: ${reason} ${cure}`)
  throw new AppError(
    'isolation_unavailable',
    `Sandboxes cannot be isolated on this machine. ${reasons.join(' ')} To run tools without isolation, with the rights of this process, set "isolation: none".`,
    { details: { refused } },
  )
}

/** What the trial complained of, or `undefined` when it ran. */
async function tryIsolation(isolation: 'bubblewrap' | 'unshare'): Promise<string | undefined> {
  if (process.platform !== 'linux') return `there are no namespaces on ${process.platform}`
  const folder = await mkdtemp(join(tmpdir(), 'toolcrib-trial-'))
  const log = join(folder, 'log')
  try {
    const launched = await launch({
      marker: `toolcrib-trial:${isolation}`,
      lock: join(folder, 'lock'),
      log,
      command: composeCommand({
        isolation,
        marker: `toolcrib-trial:${isolation}`,
        lock: join(folder, 'lock'),
        userId: process.getuid?.() === 0 ? trialUserId : undefined,
        mounts: systemMounts(),
        environment: { PATH: '/usr/bin:/bin' },
        folder: '/',
        command: ['/bin/sh', '-c', `echo ${ranMark}`],
      }),
      prepare: async () => [],
      signal: AbortSignal.timeout(10_000),
      outlives: false,
      timeoutMs: 10_000,
    })
    if (launched.kind === 'up') await launched.ended
    const said = await tail(log)
    return said.includes(ranMark) ? undefined : said
  } catch (error) {
    const cause = error instanceof AppError ? error.cause : error
    return cause instanceof Error ? cause.message : String(cause)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Turns a complaint of bwrap or unshare into a sentence and what to do about it. */
async function diagnose(
  isolation: 'bubblewrap' | 'unshare',
  trouble: string,
): Promise<{ reason: string; cure: string }> {
  const macCure = 'Run Toolcrib in a Linux virtual machine or container.'
  if (process.platform !== 'linux') return { reason: `${capital(trouble)}.`, cure: macCure }
  if (/flock|setpriv|prlimit|unshare/.test(trouble) && /not found|ENOENT|No such file/.test(trouble)) {
    return { reason: 'util-linux is not installed.', cure: 'Run: apt-get install util-linux.' }
  }
  if (isolation === 'bubblewrap' && /bwrap.*(not found|No such file)|ENOENT/.test(trouble)) {
    return { reason: 'bubblewrap is not installed.', cure: 'Run: apt-get install bubblewrap.' }
  }
  if (/[Uu]nknown option|unrecognized option/.test(trouble)) {
    return {
      reason: `${isolation} is too old here.`,
      cure: 'bubblewrap 0.8 and util-linux 2.36 or later are needed.',
    }
  }
  const switches: [file: string, off: string, cure: string][] = [
    ['user/max_user_namespaces', '0', 'sysctl -w user.max_user_namespaces=15000'],
    ['kernel/unprivileged_userns_clone', '0', 'sysctl -w kernel.unprivileged_userns_clone=1'],
    [
      'kernel/apparmor_restrict_unprivileged_userns',
      '1',
      'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or give bwrap an AppArmor profile with userns)',
    ],
  ]
  for (const [file, off, cure] of switches) {
    const value = await readFile(`/proc/sys/${file}`, 'utf8').catch(() => '')
    if (value.trim() === off) {
      return {
        reason: `The kernel setting ${file.replace('/', '.')} is ${off}.`,
        cure: `As root run: ${cure}.`,
      }
    }
  }
  if (/proc/.test(trouble) && /mount|permitted/i.test(trouble)) {
    return {
      reason: 'A private /proc cannot be mounted, as in a container that hides parts of its own.',
      cure: 'Start the container with: --security-opt systempaths=unconfined.',
    }
  }
  return {
    reason: 'User namespaces are refused here, as in a container with its default profile.',
    cure: 'Start the container with: --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined.',
  }
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
