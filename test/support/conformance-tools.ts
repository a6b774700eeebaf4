import { pause, type ScriptedTool, text } from './scripted-calls.ts'

/** The tools that the official suite calls, as its README describes them, so far as a gateway for tools can. */
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=='
const wav = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA='
const image = { type: 'image', data: png, mimeType: 'image/png' }

export const conformanceTools: Record<string, ScriptedTool> = {
  test_simple_text: () => text('This is a simple text response for testing.'),
  test_image_content: () => ({ content: [image] }),
  test_audio_content: () => ({ content: [{ type: 'audio', data: wav, mimeType: 'audio/wav' }] }),
  test_embedded_resource: () => ({
    content: [
      {
        type: 'resource',
        resource: {
          uri: 'test://embedded-resource',
          mimeType: 'text/plain',
          text: 'This is an embedded resource content.',
        },
      },
    ],
  }),
  test_multiple_content_types: () => ({
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      image,
      {
        type: 'resource',
        resource: {
          uri: 'test://mixed-content-resource',
          mimeType: 'application/json',
          text: '{"test":"data","value":123}',
        },
      },
    ],
  }),
  test_error_handling: () => ({
    ...text('This tool intentionally returns an error for testing'),
    isError: true,
  }),
  async test_tool_with_progress(_args, hooks) {
    for (const done of [0, 50, 100]) {
      hooks.progress(done, 100, `Completed ${done} of 100`)
      await pause(50, hooks.signal)
    }
    return text('done')
  },
  test_logging_tool: () => text('nothing was logged'),
  test_streaming_elicitation: () => text('nothing was asked'),
  json_schema_2020_12_tool: () => text('ok'),
}

/** The schema whose every keyword must survive. */
export const conformanceDefinitions: Record<string, Record<string, unknown>> = {
  json_schema_2020_12_tool: {
    name: 'json_schema_2020_12_tool',
    description: 'Tool with JSON Schema 2020-12 features',
    inputSchema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: { type: 'string' }, city: { type: 'string' } },
        },
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      // As text, because an object with this member looks like a promise.
      ...(JSON.parse('{"then":{"required":["phone"]}}') as object),
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
  },
}
