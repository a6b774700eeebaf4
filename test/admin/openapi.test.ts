import { expect, test } from 'vitest'
import { openApiDocument } from '../../src/admin/index.ts'

interface Operation {
  operationId: string
  parameters: { name: string; in: string; required: boolean }[]
  responses: Record<string, unknown>
}
const { paths, openapi } = openApiDocument() as {
  openapi: string
  paths: Record<string, Record<string, Operation>>
}
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

test('every operation has a name of its own and documents all its path parameters and its errors', () => {
  expect(openapi).toBe('3.1.0')
  const names = operations.map(({ operation }) => operation.operationId)
  expect(new Set(names).size).toBe(names.length)
  for (const { path, operation } of operations) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
    const documented = operation.parameters.filter((parameter) => parameter.in === 'path')
    expect(documented.map(({ name }) => name)).toEqual(inPath)
    expect(Object.keys(operation.responses)).toContain('default')
  }
})

test('the document stands on its own: no references', () => {
  expect(JSON.stringify(openApiDocument())).not.toContain('$ref')
})
