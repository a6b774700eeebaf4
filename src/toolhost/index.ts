/**
 * toolhost: the program inside a sandbox. It starts the sources that the gateway puts there, each in a process
 * group of its own, and carries calls to them, few at a time; a call that ends leaves no process behind, and a
 * source that dies is started again. It proves at boot that the sandbox is cut off and refuses to work where it is
 * not. It holds no secret, decides nothing about who may call what, and knows no other room but core and wire.
 */

export type { ProbeTarget } from './probe.ts'
export { startToolhost } from './toolhost.ts'
