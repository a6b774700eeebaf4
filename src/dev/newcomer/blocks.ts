import { z } from 'zod'
import { type Html, html } from './html.ts'
import { renderMrkdwn } from './mrkdwn.ts'

const Text = z.object({ type: z.string(), text: z.string() })
const Span = z.object({
  type: z.string(),
  text: z.string().default(''),
  style: z.object({ bold: z.boolean().optional() }).optional(),
})
const Block = z.discriminatedUnion('type', [
  z.object({ type: z.literal('header'), text: Text }),
  z.object({ type: z.literal('section'), text: Text }),
  z.object({ type: z.literal('context'), elements: z.array(Text) }),
  z.object({ type: z.literal('divider') }),
  z.object({
    type: z.literal('actions'),
    elements: z.array(
      z.object({
        action_id: z.string(),
        text: Text,
        style: z.string().optional(),
        value: z.string().optional(),
      }),
    ),
  }),
  z.object({
    type: z.literal('rich_text'),
    elements: z.array(z.object({ type: z.string(), elements: z.array(Span) })),
  }),
])

/** A button's form, so that it works without a script. */
export type RenderButton = (button: { action: string; label: string; danger: boolean; value: string }) => Html

/** Block Kit as markup, as far as our app uses it; a block of another kind shows as its name. */
export function renderBlocks(blocks: Record<string, unknown>[], button: RenderButton): Html[] {
  return blocks.map((raw) => {
    const parsed = Block.safeParse(raw)
    if (!parsed.success) return html`<p class="note">[${String(raw['type'])}]</p>`
    const block = parsed.data
    switch (block.type) {
      case 'header':
        return html`<h3>${block.text.text}</h3>`
      case 'section':
        return html`<p>${renderMrkdwn(block.text.text)}</p>`
      case 'context':
        return html`<p class="note">${block.elements.flatMap((element) => renderMrkdwn(element.text))}</p>`
      case 'divider':
        return html`<hr>`
      case 'actions':
        return html`<div class="actions">${block.elements.map((element) =>
          button({
            action: element.action_id,
            label: element.text.text,
            danger: element.style === 'danger',
            value: element.value ?? '',
          }),
        )}</div>`
      case 'rich_text':
        return html`<div class="paste">${block.elements.map(renderRich)}</div>`
    }
  })
}

function renderRich(part: { type: string; elements: z.infer<typeof Span>[] }): Html {
  if (part.type === 'rich_text_preformatted') {
    const text = part.elements.map((span) => span.text).join('')
    return html`<div class="code"><pre tabindex="0">${text}</pre><button type="button" class="copy">Copy</button></div>`
  }
  return html`<p class="label">${part.elements.map((span) =>
    span.style?.bold === true ? html`<strong>${span.text}</strong>` : html`<span>${span.text}</span>`,
  )}</p>`
}
