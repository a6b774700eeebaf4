import { execFile } from 'node:child_process'
import { mkdir, open } from 'node:fs/promises'
import { toolPath } from './chain.ts'
import type { RunnerPaths } from './layout.ts'

/** The exit code by which the chain says that another process holds the lock. */
export const heldCode = 75

/** The same promise as `flock -n -o` where util-linux is not at hand (macOS): perl is, and the kernel's lock too. */
export const perlLock = `
use Fcntl ':flock';
my $lock = shift; my $quiet = 0;
open(my $file, '>>', $lock) or die "cannot open $lock: $!";
flock($file, LOCK_EX | LOCK_NB) or exit ${heldCode};
my $child = fork(); defined $child or die "cannot fork: $!";
if ($child == 0) { exec { $ARGV[0] } @ARGV; exit 127 }
waitpid($child, 0); exit($? >> 8 || $? & 127);
`

/** Makes what is locked, where it is not there yet. */
export async function makeLock({ folder, lock }: RunnerPaths): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  // Opened by a sandbox's own user while it is made, to see that its supervisor lives.
  await (await open(lock, 'a', 0o644)).close()
}

/** argv that runs a command while it alone holds the lock; exits 75 at once when somebody else does. */
export function underLock(lock: string): string[] {
  return process.platform === 'linux'
    ? ['flock', '-n', '-o', '-E', String(heldCode), lock]
    : ['perl', '-e', perlLock, lock]
}

/** Runs a short command under the lock. `held`: somebody else has it, and nothing was run. */
export async function tryUnderLock(lock: string, command: string[]): Promise<'ran' | 'held'> {
  const [program = '', ...args] = [...underLock(lock), ...command]
  return await new Promise((resolve, reject) => {
    execFile(program, args, { env: { PATH: toolPath }, timeout: 20_000 }, (error) => {
      if (error === null) resolve('ran')
      else if (error.code === heldCode) resolve('held')
      else reject(new Error('the lock could not be tried', { cause: error }))
    })
  })
}
