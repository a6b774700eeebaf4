import type { SandboxSpec } from '../driver.ts'

const mebibyte = 1024 * 1024

/** No single file grows beyond this; a disk is protected by a quota on the file system, not by us. */
const largestFile = 4096 * mebibyte

/**
 * What a process may use besides the memory that it was given: a thread's stack counts in full (8 MiB) though
 * hardly a page of it is ever touched, and V8 sets aside code and heap ranges.
 */
const headroom = 1024 * mebibyte

/**
 * argv that limits what it runs. RLIMIT_NPROC counts per user namespace (Linux 5.14), so it must come after that
 * is made. Memory is bounded by RLIMIT_DATA, per process; RLIMIT_AS would break V8, which reserves far more
 * address space than it uses. The whole sandbox is bounded by a control group where one can be had.
 */
export function limitCommand(limits: SandboxSpec['limits'], ownUserNamespace: boolean): string[] {
  return [
    'prlimit',
    '--core=0:0',
    `--fsize=${largestFile}:${largestFile}`,
    `--stack=${8 * mebibyte}:${8 * mebibyte}`,
    `--data=${limits.memoryBytes + headroom}:${limits.memoryBytes + headroom}`,
    `--nofile=${limits.openFiles}:${limits.openFiles}`,
    ...(ownUserNamespace ? [`--nproc=${limits.processes}:${limits.processes}`] : []),
    '--',
  ]
}

/** Size of a sandbox's /tmp, in bytes; its /dev/shm has a quarter. Both are memory. */
export function scratchBytes(limits: SandboxSpec['limits']): number {
  return Math.min(Math.floor(limits.memoryBytes / 2), 1024 * mebibyte)
}
