/** Where the programs that make a sandbox are looked for; the gateway's own PATH does not matter. */
export const toolPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * The chain that a sandbox hangs on, outermost first:
 *
 *   flock            holds the lock of the name while its child lives
 *   └ boot           waits for "go", then becomes bwrap or unshare; dies with flock
 *     └ init         first process of the sandbox's pid namespace; dies with its parent
 *       └ toolhost   when it ends, init ends
 *
 * A parent-death signal does not tell that the parent was dead already, so each link that sets one compares its
 * parent afterwards. `head` becomes flock with its own process number kept, which is how boot knows it.
 */
export const headScript = `
boot=$1; lock=$2; shift 2
exec flock -n -o -E 75 "$lock" setpriv --pdeathsig KILL -- /bin/sh -c "$boot" "$0" "$$" "$@"
`

/** The same where nothing but POSIX is at hand: no parent-death signal, so only the process group ties it. */
export const portableHeadScript = `
boot=$1; lock=$2; perl=$3; shift 3
exec perl -e "$perl" "$lock" /bin/sh -c "$boot" "$0" "$$" "$@"
`

/**
 * Runs under the lock, still outside of every namespace. Says "locked", and goes on only when told to: a creator
 * that dies before has written its record or not, and in both cases nothing ever ran.
 * Arguments: parent, log, command…; the control groups to enter come with the word.
 */
export const bootScript = `
[ "$PPID" = "$1" ] || exit 76
log=$2; shift 2
echo locked
read -r word groups && [ "$word" = go ] || exit 77
exec 3>&1 >>"$log" 2>&1 </dev/null
umask 022
for group in $groups; do echo $$ 2>/dev/null >"$group/cgroup.procs"; done
# When the machine runs out of memory, a sandbox goes before anything of ours.
echo 500 2>/dev/null >/proc/self/oom_score_adj
exec "$@"
`

/**
 * As root only, in a mount namespace of its own: what the sandbox will see is bound below a directory that its
 * user can get into (the state directory is closed to it), and the user changes, for good. One mount and one mkdir
 * for all: each process more is a millisecond more that somebody waits.
 * Arguments: stage, user id, table of the mounts, (from, to)…, --, command…
 */
export const stageScript = `
set -e
parent=$PPID; stage=$1; user=$2; table=$3; shift 3
mount -t tmpfs -o mode=0711,size=256k toolcrib "$stage"
folders=$stage/root
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then folders="$folders $2"; else : >"$2"; fi
  shift 2
done
shift
mkdir $folders
printf '%s' "$table" >"$stage/table"
mount -n -a -T "$stage/table"
cd /
exec setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all --ambient-caps=-all \\
  --bounding-set=-all --pdeathsig KILL -- \\
  /bin/sh -c '[ "$PPID" = "$1" ] || exit 76; shift; exec "$@"' "$0" "$parent" "$@"
`

/** The last step, inside: says so, lets go of the last descriptor, becomes the toolhost. */
export const insideScript = `
trap '' PIPE
echo inside >&3 2>/dev/null
exec 3>&-
trap - PIPE
exec "$@"
`

/** The same for a first process that must bury orphans itself; bubblewrap brings its own. */
export const insideAsInitScript = `
trap '' PIPE
echo inside >&3 2>/dev/null
exec 3>&-
trap - PIPE
"$@" &
wait $!
`
