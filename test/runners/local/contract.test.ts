import { needing } from '../../support/needs.ts'
import { driverContract } from '../driver-contract.ts'
import { localHarness } from './contract-harness.ts'

for (const isolation of ['bubblewrap', 'unshare'] as const)
  driverContract(`local ${isolation}`, async () => await localHarness(isolation), needing(isolation))
driverContract('local none', async () => await localHarness('none'))
