import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, inject, onTestFinished, test } from 'vitest'
import { parseConfig } from '../src/config.ts'
import { silentLog } from '../src/core/index.ts'
import { generateAuthority } from '../src/egress/keys/authority.ts'
import { apply, checkConfig } from '../src/main-database.ts'

test('a configuration is not applied to a database that was not migrated, and the cure is named', async () => {
  const environment = { DATABASE_URL: inject('databaseUrl') }
  const config = parseConfig('', { environment, baseDir: '/nowhere', name: 'toolcrib.yaml' })
  await expect(apply(config, silentLog)).rejects.toThrow(
    /^the database is older than this version \(0001-init.*\); run `toolcrib migrate` first$/,
  )
})

test('a check names every file of certificate authorities that is not there, holds none, or is damaged', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'toolcrib-apply-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const good = (await generateAuthority(Date.now())).certificatePem
  await writeFile(join(dir, 'good.pem'), `# two of them\n${good}${good}`)
  await writeFile(join(dir, 'key.pem'), '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n')
  await writeFile(join(dir, 'cut.pem'), good.replace(/\n.*\n.*\n/, '\n'))
  const check = (...files: string[]) => {
    const text = JSON.stringify({ egress: { upstream_ca_files: files } })
    return checkConfig(parseConfig(text, { environment: {}, baseDir: dir, name: 'toolcrib.yaml' }))
  }
  expect(check('good.pem')).toBe('the configuration is valid\n')
  expect(() => check('good.pem', 'none.pem', 'key.pem', 'cut.pem')).toThrow(
    [
      'egress.upstream_ca_files cannot be used:',
      `  - ${dir}/none.pem cannot be read (ENOENT); name a readable file, from the folder of the configuration`,
      `  - ${dir}/key.pem holds no certificate; it is to hold one or more in PEM`,
      `  - ${dir}/cut.pem holds a certificate that is damaged; get it anew`,
    ].join('\n'),
  )
})
