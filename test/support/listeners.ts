import type { Store } from '../../src/store/index.ts'
import { until } from './until.ts'

/** Waits until so many sessions listen for notices of this database: what is sent before passes them by. */
export async function untilListening({ pool }: Store, sessions: number): Promise<void> {
  const query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
  await until(async () => (await pool.query(query)).rows.length >= sessions)
}
