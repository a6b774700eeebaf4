import { spawn } from 'node:child_process'

/**
 * Stops these processes until disposed, or until this one is gone, however it ends: stopped ones hear no signal but a
 * kill, and would stay for good.
 */
export function pauseProcesses(pids: readonly number[]): Disposable {
  // It reads until the other end of its pipe closes, which the system does for a process that is killed.
  const watch = spawn('sh', ['-c', 'read -r _; kill -CONT "$@"', 'sh', ...pids.map(String)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  watch.unref()
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  return {
    [Symbol.dispose]() {
      for (const pid of pids) process.kill(pid, 'SIGCONT')
      watch.stdin.end()
    },
  }
}
