import { mkdir } from 'node:fs/promises'
import { chromium } from 'playwright-core'
import { expect, test } from 'vitest'
import { home } from '../support/access.ts'
import { findChromium } from '../support/machine.ts'
import { needing } from '../support/needs.ts'
import { startNewcomerPage } from '../support/newcomer.ts'

async function openBrowser() {
  const browser = await chromium.launch({
    executablePath: findChromium() ?? '',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
    ],
  })
  return { browser, [Symbol.asyncDispose]: async () => await browser.close() }
}

test(
  'a newcomer types the command, sees the message, and copies a line that works',
  needing('chromium'),
  async () => {
    await using page = await startNewcomerPage()
    await using chrome = await openBrowser()
    const context = await chrome.browser.newContext({ viewport: { width: 1280, height: 900 } })
    await context.grantPermissions(['clipboard-read', 'clipboard-write'])
    const tab = await context.newPage()
    const complaints: string[] = []
    tab.on('console', (message) => void (message.type() === 'error' && complaints.push(message.text())))
    tab.on('pageerror', (error) => void complaints.push(error.message))

    await tab.goto(page.url)
    await tab.getByPlaceholder('Message Toolcrib').fill('/mcp-token')
    await tab.keyboard.press('Enter')
    await tab.getByRole('heading', { name: 'Your key to the tools' }).waitFor()
    const claude = tab.locator('.paste', { hasText: 'Claude Code' })
    await claude.getByRole('button', { name: 'Copy' }).click()
    await claude.getByRole('button', { name: 'Copied' }).waitFor()
    const copied = await tab.evaluate<string>('navigator.clipboard.readText()')
    const [, token] =
      /^claude mcp add --transport http --scope user toolcrib https:\/\/crib\.example\/mcp --header "Authorization: Bearer (tcb_\w+)"$/.exec(
        copied,
      ) ?? []
    await expect(page.house.access.verify(token ?? '', home)).resolves.toMatchObject({
      principalName: 'Alice',
    })
    if (process.env['PICTURES'] !== undefined) {
      await mkdir(process.env['PICTURES'], { recursive: true })
      await tab.waitForTimeout(1_800)
      await tab.screenshot({ path: `${process.env['PICTURES']}/newcomer.png` })
    }

    await tab.getByRole('button', { name: 'Delete this message' }).click()
    await tab.getByRole('heading', { name: 'Your key to the tools' }).waitFor({ state: 'detached' })
    expect(complaints).toEqual([])
  },
)

test(
  'the page works without a script, at the width of a phone, and warns in red',
  needing('chromium'),
  async () => {
    await using page = await startNewcomerPage({ warning: 'Tools run as you, on this machine.' })
    await using chrome = await openBrowser()
    const context = await chrome.browser.newContext({
      viewport: { width: 375, height: 740 },
      javaScriptEnabled: false,
    })
    const tab = await context.newPage()
    await tab.goto(`${page.url}/?as=gary`)
    await tab.getByRole('alert').getByText('Tools run as you, on this machine.').waitFor()
    await tab.getByRole('button', { name: '/mcp-token', exact: true }).click()
    await tab.getByText('your account is a guest').waitFor()
    const { scrollWidth } = await tab.locator('html').evaluate((html) => ({ scrollWidth: html.scrollWidth }))
    expect(scrollWidth).toBeLessThanOrEqual(375)
    if (process.env['PICTURES'] !== undefined)
      await tab.screenshot({ path: `${process.env['PICTURES']}/newcomer-phone.png` })
  },
)
