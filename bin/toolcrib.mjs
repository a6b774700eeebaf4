#!/usr/bin/env node
// The way in, in plain JavaScript: an old Node must be able to read it and say what would work.
const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  process.stderr.write(
    `Toolcrib needs Node 24; this is ${process.version}. Run it through npm (npm run dev), which brings its own after "npm install", or install Node 24.\n`,
  )
  process.exit(2)
}
const { main } = await import('../src/main.ts')
process.exitCode = await main(process.argv.slice(2))
