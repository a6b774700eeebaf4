import type { SandboxSpec } from '../driver.ts'

const mebibyte = 1024 * 1024

/** No single file grows beyond this; a disk is protected by a quota on the file system, not by us. */
const largestFile = 4096 * mebibyte

/**
 * What a process may set aside besides the memory that it was given, because RLIMIT_DATA counts what is set aside
 * and not what is touched. Node 24: 512 MiB of code range per isolate, 8 MiB of stack per thread; this is enough
 * for a hundred threads and three isolates.
 */
const headroom = 2560 * mebibyte
/** Where a control group bounds what is really used, this limit only catches the absurd. */
const wideHeadroom = 8192 * mebibyte

export interface Surroundings {
  ownUserNamespace: boolean
  /** A control group bounds the memory of the whole sandbox. */
  memoryBounded: boolean
}

/**
 * argv that limits what it runs. RLIMIT_NPROC counts per user namespace (Linux 5.14), so it must come after that
 * is made. Memory is bounded by RLIMIT_DATA, per process; RLIMIT_AS would break V8, which reserves far more
 * address space than it uses. The whole sandbox is bounded by a control group where one can be had.
 */
export function limitCommand(limits: SandboxSpec['limits'], around: Surroundings): string[] {
  const data = limits.memoryBytes + (around.memoryBounded ? wideHeadroom : headroom)
  return [
    'prlimit',
    '--core=0:0',
    `--fsize=${largestFile}:${largestFile}`,
    `--stack=${8 * mebibyte}:${8 * mebibyte}`,
    `--data=${data}:${data}`,
    `--nofile=${limits.openFiles}:${limits.openFiles}`,
    ...(around.ownUserNamespace ? [`--nproc=${limits.processes}:${limits.processes}`] : []),
    '--',
  ]
}

/** Size of a sandbox's /tmp, in bytes; its /dev/shm has a quarter. Both are memory. */
export function scratchBytes(limits: SandboxSpec['limits']): number {
  return Math.min(Math.floor(limits.memoryBytes / 2), 1024 * mebibyte)
}
