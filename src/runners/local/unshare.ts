import type { SandboxCommand } from './bubblewrap.ts'
import { insideAsInitScript } from './chain.ts'
import type { Mount } from './mounts.ts'

/**
 * The sandbox by util-linux alone. Its first user namespace makes the mounts; a second one, below it, runs the
 * toolhost: it owns none of those mounts and nothing of the network, and the first allows no third.
 * Arguments: lock, root, (kind, a, b, c)…, --, command…
 */
const buildScript = `
set -e
lock=$1; root=$2; shift 2
# Whoever should end with us is dead already when the lock is free.
code=0; flock -n -E 75 "$lock" true || code=$?
[ "$code" = 75 ] || exit 76

if command -v ip >/dev/null 2>&1; then ip link set lo up
else perl -e 'socket(my $s,2,2,0)||die; my $r=pack("a16sx22","lo",0x41); ioctl($s,0x8914,$r)||die'; fi
hostname crib 2>/dev/null || true

mount -n -t tmpfs -o mode=0755,size=256k,nosuid,nodev toolcrib "$root"

point() { # $1 like $2: something to mount on
  if [ -d "$2" ]; then mkdir -p "$root$1"; else mkdir -p "$root\${1%/*}"; [ -e "$root$1" ] || : >"$root$1"; fi
}
# Flags that a mount had outside are locked and must be named again; which ones, the kernel does not say.
remount() {
  for more in "" ,noatime ,noexec ,noexec,noatime ,nodiratime ,noexec,nodiratime; do
    mount -n -o "remount,bind,nosuid$2$more" "$1" 2>/dev/null && return 0
  done
  echo "cannot restrict the mount of $1" >&2
  return 1
}
restrict() { # the mount at $1, and those that came along below it
  remount "$1" "$2"
  case $(cat /proc/self/mountinfo) in *" $1/"*) ;; *) return 0 ;; esac
  while read -r _ _ _ _ at _; do
    case $at in "$1"/*) remount "$(printf '%b' "$at")" "$2" ;; esac
  done </proc/self/mountinfo
}
while [ "$1" != -- ]; do
  kind=$1; a=$2; b=$3; c=$4; shift 4
  case $kind in
    ro) point "$b" "$a"; mount -n --rbind "$a" "$root$b"; restrict "$root$b" ,nodev,ro ;;
    rw) point "$b" "$a"; mount -n --rbind "$a" "$root$b"; restrict "$root$b" ,nodev ;;
    symlink) mkdir -p "$root\${b%/*}"; ln -s "$a" "$root$b" ;;
    tmpfs) mkdir -p "$root$b"; mount -n -t tmpfs -o "nosuid,nodev,size=$a,mode=$c" tmpfs "$root$b" ;;
    proc) mkdir -p "$root$b"; mount -n -t proc -o nosuid,nodev,noexec proc "$root$b" ;;
    dev)
      mkdir -p "$root$b"
      mount -n -t tmpfs -o nosuid,mode=0755,size=64k tmpfs "$root$b"
      for node in null zero full random urandom tty; do
        : >"$root$b/$node"; mount -n --bind "/dev/$node" "$root$b/$node"
      done
      mkdir "$root$b/pts" "$root$b/shm"
      mount -n -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=620 devpts "$root$b/pts"
      ln -s pts/ptmx "$root$b/ptmx"; ln -s /proc/self/fd "$root$b/fd"
      ln -s /proc/self/fd/0 "$root$b/stdin"; ln -s /proc/self/fd/1 "$root$b/stdout"; ln -s /proc/self/fd/2 "$root$b/stderr" ;;
  esac
done
shift
mkdir "$root/.outside"
cd "$root"
pivot_root . .outside
umount -n -l /.outside
rmdir /.outside
mount -n -o remount,bind,ro,nosuid /dev
mount -n -o remount,bind,ro,nosuid,nodev /
echo 1 >/proc/sys/user/max_user_namespaces
cd "$1"; shift
exec unshare --user --map-user=1000 --map-group=1000 --keep-caps \\
  setpriv --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=-all -- "$@"
`

/** argv that becomes a sandbox made by util-linux's `unshare`, in namespaces like bubblewrap's. */
export function unshareCommand(sandbox: SandboxCommand, lock: string, root: string): string[] {
  const environment = Object.entries(sandbox.environment).map(([name, value]) => `${name}=${value}`)
  return [
    ['unshare', '--user', '--map-root-user', '--mount', '--propagation', 'private', '--pid', '--fork'],
    ['--kill-child=KILL', '--ipc', '--uts', '--net', '--cgroup', '--'],
    ['/bin/sh', '-c', buildScript, sandbox.marker, lock, root],
    sandbox.mounts.flatMap(mountWords),
    ['--', sandbox.folder, 'env', '-i', ...environment],
    ['/bin/sh', '-c', insideAsInitScript, sandbox.marker],
    sandbox.command,
  ].flat()
}

function mountWords(mount: Mount): string[] {
  switch (mount.kind) {
    case 'ro':
    case 'rw':
    case 'symlink':
      return [mount.kind, mount.from, mount.to, '']
    case 'tmpfs':
      return ['tmpfs', String(mount.bytes), mount.to, mount.mode]
    case 'proc':
    case 'dev':
      return [mount.kind, '', mount.to, '']
  }
}
