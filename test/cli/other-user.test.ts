import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { generateEgressKeys } from '../../src/egress/index.ts'
import { publishFirstEgressKey } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'
import { needing } from '../support/needs.ts'

const entry = fileURLToPath(new URL('../../bin/toolcrib.mjs', import.meta.url))

// Root may read everything, so its command runs as somebody else; anybody else closes their own files to themselves.
const isRoot = process.getuid?.() === 0
const another = isRoot ? { uid: 65_534, gid: 65_534 } : {}
const options = { timeout: 120_000, ...(isRoot ? needing('other users') : {}) }

test(
  'whoever may not read the keys or the address of the database is told so, and never that they are gone',
  options,
  async () => {
    await using store = await testStore()
    const folder = await mkdtemp(join(tmpdir(), 'toolcrib-other-user-'))
    const keys = join(folder, 'egress-keys')
    const note = join(folder, 'database-url')
    onTestFinished(async () => {
      await chmod(keys, 0o700)
      await rm(folder, { recursive: true, force: true })
    })
    await publishFirstEgressKey(store.db, (await generateEgressKeys(keys, Date.now())).newest())
    const config = join(folder, 'toolcrib.yaml')
    await writeFile(config, JSON.stringify({ state_dir: folder, log_level: 'error' }), { mode: 0o644 })
    await writeFile(note, store.url)
    await mkdir(join(folder, 'postgres'))
    for (const path of [keys, note]) await chmod(path, 0)
    await chmod(folder, 0o755)
    const run = async (environment: Record<string, string>, ...args: string[]) => {
      const env = { PATH: process.env['PATH'], TOOLCRIB_CONFIG: config, ...environment }
      return await new Promise<string>((resolve) =>
        execFile(process.execPath, [entry, ...args], { env, cwd: '/', ...another }, (error, out, err) =>
          resolve(error === null ? `done: ${out}` : err),
        ),
      )
    }
    const given = { DATABASE_URL: store.url }
    const mayNot = (path: string, owner: string) =>
      `toolcrib: this user may not read ${path}; run it as the user that \`${owner}\` runs as\n`
    for (const args of [['list'], ['rotate'], ['rotate', '--ca'], ['rotate', '--lost']])
      expect(await run(given, 'keys', ...args)).toBe(mayNot(keys, 'toolcrib egress'))
    expect(await run(given, 'egress')).toBe(mayNot(keys, 'toolcrib egress'))
    expect(await run({}, 'egress')).toBe(mayNot(note, 'toolcrib serve'))
    expect(await run({}, 'keys', 'list')).toBe(mayNot(note, 'toolcrib serve'))
  },
)
