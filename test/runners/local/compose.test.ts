import { expect, test } from 'vitest'
import { composeCommand } from '../../../src/runners/local/compose.ts'

test('paths with blanks, tabs, newlines and backslashes stay one field of the table of mounts', () => {
  const command = composeCommand({
    isolation: 'bubblewrap',
    marker: 'm',
    lock: '/state dir/lock',
    userId: 200_000,
    mounts: [{ kind: 'rw', from: '/state dir/a\tb\nc\\d', to: '/home/crib' }],
    environment: {},
    folder: '/',
    command: ['true'],
  })
  const stage = '/mnt'
  expect(command).toContain(
    `/state\\040dir/a\\011b\\012c\\134d ${stage}/0 none rbind 0 0\n/state\\040dir/lock ${stage}/lock none rbind 0 0\n`,
  )
})
