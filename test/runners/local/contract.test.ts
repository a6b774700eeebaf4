import { detectIsolation } from '../../../src/runners/index.ts'
import { driverContract } from '../driver-contract.ts'
import { localHarness } from './contract-harness.ts'

// What this machine cannot isolate, isolation.test.ts names.
const { works } = await detectIsolation()
for (const isolation of [...works, 'none' as const]) {
  driverContract(`local ${isolation}`, async () => await localHarness(isolation))
}
