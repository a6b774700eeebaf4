import { sql } from 'kysely'
import { expect, test } from 'vitest'
import type { Executor } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

test('db/schema.sql is what the migrations make (npm run schema writes it anew)', async () => {
  await using store = await testStore()
  await expect(await describe(store.db)).toMatchFileSnapshot('../../db/schema.sql')
})

/** The schema as the server tells it, in a stable order: to be read by people and compared, not to be run. */
async function describe(db: Executor): Promise<string> {
  const columns = await sql<{ table: string; line: string }>`
    SELECT c.relname AS table, format('  %s %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
      CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
      CASE WHEN a.attidentity <> '' THEN ' GENERATED ALWAYS AS IDENTITY'
           WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) ELSE '' END) AS line
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind = 'r' AND c.relname NOT LIKE 'kysely%' ORDER BY c.relname, a.attnum`.execute(db)
  const constraints = await sql<{ table: string; line: string }>`
    SELECT c.relname AS table, format('  CONSTRAINT %s %s', o.conname, pg_get_constraintdef(o.oid)) AS line
    FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
    WHERE o.contype <> 'n' AND c.relname NOT LIKE 'kysely%' ORDER BY c.relname, o.contype, o.conname`.execute(
    db,
  )
  const rest = await sql<{ line: string }>`
    SELECT indexdef || ';' AS line FROM pg_indexes
    WHERE schemaname = 'public' AND tablename NOT LIKE 'kysely%'
      AND indexname NOT IN (SELECT conname FROM pg_constraint)
    UNION ALL
    SELECT pg_get_triggerdef(oid) || ';' FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1`.execute(db)

  const tables = [...new Set(columns.rows.map((row) => row.table))]
  const blocks = tables.map((table) => {
    const lines = [...columns.rows, ...constraints.rows]
      .filter((row) => row.table === table)
      .map((row) => row.line)
    return `CREATE TABLE ${table} (\n${lines.join(',\n')}\n);\n`
  })
  return `-- Dumped from the migrations by \`npm run schema\`; compared in test/store/schema.test.ts.\n\n${blocks.join('\n')}\n${rest.rows.map((row) => row.line).join('\n')}\n`
}
