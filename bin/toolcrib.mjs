#!/usr/bin/env node
// The way in, in plain JavaScript: an old Node must be able to read it and say what would work.
const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  process.stderr.write(
    `Toolcrib needs Node 24; this is ${process.version}. Run "npm install" here and let it end: it brings one, with which npm starts things (npm run dev). Or install Node 24.\n`,
  )
  process.exit(2)
}

// Servers start again in place (same process id, same pipes) with memory settings that cannot be made later. A
// gateway under load holds about 200 MB with them and 400 without: V8 would let short-lived garbage pile up, and
// glibc would keep 19 MB for each thread that ever ran argon2. The proxy's records live long enough to be taken for
// old; letting more of them gather costs it 12 MB under load and saves a tenth of its CPU. After eight idle seconds V8
// would give room back and throw away compiled code with it; the proxy gives back of itself, after a quiet minute. Of
// what is young next to nothing is alive: collected by one thread, others' cores are left to who is waited for. And
// nothing is made old from the start for having lived long elsewhere: once dead it keeps alive what is young and hangs on
// it, until all of the heap is collected.
const command = process.argv[2] ?? ''
const ofProxy = [
  '--heap-growing-percent=60',
  '--no-memory-reducer',
  '--no-parallel-scavenge',
  '--no-allocation-site-pretenuring',
]
const heap = ['--max-semi-space-size=16', ...(command === 'egress' ? ofProxy : ['--heap-growing-percent=30'])]
const isServer = ['serve', 'egress', 'dev'].includes(command)
// The proxy resolves names as the system does, and such a look-up holds a thread until the resolver gives up: with 32
// for that, five people's six can hang and nobody else's wait. libuv keeps the other half for everything else.
const threads = command === 'egress' ? { UV_THREADPOOL_SIZE: '64' } : {}
if (isServer && process.execve !== undefined && !process.execArgv.includes(heap[0])) {
  const again = [process.execPath, ...heap, ...process.execArgv, ...process.argv.slice(1)]
  const settings = { MALLOC_MMAP_THRESHOLD_: '4194304', ...threads, ...process.env }
  process.execve(process.execPath, again, settings)
}
if (command === 'egress') {
  // The threads are made at their first use; only then may what says how many be forgotten.
  const { stat } = await import('node:fs/promises')
  await stat(process.execPath)
  delete process.env.UV_THREADPOOL_SIZE
}
delete process.env.MALLOC_MMAP_THRESHOLD_ // not for the database and other children

// Compiled once: a start takes half the time, and the compiler of types is not kept in memory. The cache lies in
// the installation, where only its owner can write; where nobody can, there is none.
const { enableCompileCache } = await import('node:module')
const { fileURLToPath } = await import('node:url')
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/toolcrib', import.meta.url)))
const main = await import('../src/main.ts').then(
  (loaded) => loaded.main,
  (error) => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' || !error.message.startsWith('Cannot find package')) throw error
    process.stderr.write(
      `toolcrib: what it is made of is not here, or not all of it: run "npm install" in its folder, let it end, and start again\n  because: ${error.message}\n`,
    )
    return () => 2
  },
)
process.exitCode = await main(process.argv.slice(2))
