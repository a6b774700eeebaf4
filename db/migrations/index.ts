import type { Migration } from 'kysely/migration'
import { up as up0001 } from './0001-init.ts'
import { up as up0002 } from './0002-lighter-calls.ts'
import { up as up0003 } from './0003-egress-cas.ts'
import { up as up0004 } from './0004-minted-credentials.ts'
import { up as up0005 } from './0005-source-address.ts'
import { up as up0006 } from './0006-former-tokens.ts'
import { up as up0007 } from './0007-token-recipes.ts'
import { up as up0008 } from './0008-replica-clocks.ts'

/** Every migration in order. A landed one is frozen; there is no way down but a restore. */
export const migrations: Record<string, Migration> = {
  '0001-init': { up: up0001 },
  '0002-lighter-calls': { up: up0002 },
  '0003-egress-cas': { up: up0003 },
  '0004-minted-credentials': { up: up0004 },
  '0005-source-address': { up: up0005 },
  '0006-former-tokens': { up: up0006 },
  '0007-token-recipes': { up: up0007 },
  '0008-replica-clocks': { up: up0008 },
}
