import { fork } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { home } from '../support/access.ts'
import { publicUrl, signingSecret, startSlackHouse, tokenIn, until } from '../support/slack.ts'

const ask = async (house: Awaited<ReturnType<typeof startSlackHouse>>, text = '') => {
  const { alice } = house.slack.people
  return await house.sender.slashCommand({
    user: alice.id,
    text,
    channel: await house.slack.directChannel(alice.id),
  })
}

/** Waits for the job's end and says whether there is one token row, one message, and they fit. */
async function goodToken(house: Awaited<ReturnType<typeof startSlackHouse>>): Promise<string> {
  const jobs = await house.jobsDone(20_000)
  const messages = await house.said(house.slack.people.alice.id)
  const rows = await house.tokenRows()
  const [row] = rows
  if (jobs.some(({ state }) => state !== 'done')) return JSON.stringify(jobs)
  if (messages.length !== 1 || rows.length !== 1) return `${messages.length} messages, ${rows.length} rows`
  const caller = await house.access.verify(tokenIn(messages), home)
  return caller.tokenId === row?.id && row.revoked_at === null ? 'one, and it works' : 'another token'
}

test('a request with a wrong, a stale or no signature is refused and leaves nothing', async () => {
  await using house = await startSlackHouse()
  const body = new URLSearchParams({
    command: '/mcp-token',
    text: '',
    user_id: 'U1',
    team_id: 'T1',
  }).toString()
  const contentType = 'application/x-www-form-urlencoded'
  const now = Math.floor(Date.now() / 1000)
  for (const forged of [
    { signature: `v0=${'0'.repeat(64)}` },
    { signature: 'v0=short' },
    { signature: '' },
    { timestamp: now - 301 },
    { timestamp: now + 400 },
    {
      signature: `v0=${createHmac('sha256', 'another secret').update(`v0:${now}:${body}`).digest('hex')}`,
      timestamp: now,
    },
  ]) {
    const answer = await house.sender.raw({ body, contentType, ...forged })
    expect(answer.status).toBe(401)
    expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'unauthenticated' } })
  }
  const bare = await fetch(house.url, { method: 'POST', headers: { 'content-type': contentType }, body })
  expect(bare.status).toBe(401)
  const rows = await house.store.pool.query(
    'SELECT 1 FROM slack_jobs UNION ALL SELECT 1 FROM slack_deliveries',
  )
  expect(rows.rowCount).toBe(0)
})

test('Slack’s address check is answered, and rubbish that is signed is a clean 400', async () => {
  await using house = await startSlackHouse()
  const json = 'application/json'
  const check = JSON.stringify({ type: 'url_verification', challenge: 'c-42', token: 't' })
  const answer = await house.sender.raw({ body: check, contentType: json })
  expect(JSON.parse(answer.body)).toEqual({ challenge: 'c-42' })
  for (const body of ['', '[]', '{', 'null', '"x"'])
    expect((await house.sender.raw({ body, contentType: json })).status).toBe(400)
  expect((await house.sender.raw({ body: '{"type":"unheard_of"}', contentType: json })).status).toBe(200)
})

test('a delivery that Slack repeats three times makes one token and one message', async () => {
  await using house = await startSlackHouse()
  const { alice } = house.slack.people
  const channel = await house.slack.directChannel(alice.id)
  const send = () =>
    house.sender.directMessage({ user: alice.id, text: 'mcp-token', channel, id: 'Ev0REPEAT' })
  const answers = await Promise.all([send(), send(), send()])
  answers.push(await send())
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  await expect(goodToken(house)).resolves.toBe('one, and it works')
})

test('two replicas take one job once', async () => {
  await using house = await startSlackHouse()
  await using _second = await house.replica()
  const people = Object.values(house.slack.people).filter(({ handle }) => handle !== 'gary')
  for (const person of people)
    await house.sender.slashCommand({ user: person.id, text: '', channel: house.slack.generalChannel })
  await house.jobsDone()
  for (const person of people) expect(await house.said(person.id)).toHaveLength(1)
  expect(await house.tokenRows()).toHaveLength(people.length)
})

test.each(['users.info', 'conversations.open', 'chat.postMessage'])(
  'a 429 of %s is waited out as long as Slack says, and one token arrives',
  async (method) => {
    await using house = await startSlackHouse()
    // The command itself may ask for the conversation; what fails is the work after it.
    const { alice } = house.slack.people
    const limited = { kind: 'status', status: 429, headers: { 'retry-after': '1' } } as const
    house.faults.fail(method, limited)
    await house.sender.slashCommand({ user: alice.id, text: '', channel: house.slack.generalChannel })
    await expect(goodToken(house)).resolves.toBe('one, and it works')
    const [first, second] = house.faults.calls.filter((call) => call.method === method)
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(1_000)
  },
)

test.each([
  ['answers 500', { kind: 'status', status: 500 }],
  ['answers 503 to everything', { kind: 'status', status: 503 }],
  ['breaks the connection before the work', { kind: 'drop', done: false }],
  ['breaks the connection after the work', { kind: 'drop', done: true }],
] as const)('when Slack %s, nothing is lost and no second token is made', async (_, fault) => {
  await using house = await startSlackHouse()
  house.faults.fail('chat.postMessage', fault, 2)
  await ask(house)
  await expect(goodToken(house)).resolves.toBe('one, and it works')
})

test('asks made while Slack is down are answered when it is back', async () => {
  await using house = await startSlackHouse()
  house.faults.fail('*', { kind: 'drop', done: false }, 1_000)
  const { alice } = house.slack.people
  const started = Date.now()
  await house.sender.slashCommand({ user: alice.id, text: '', channel: house.slack.generalChannel })
  expect(Date.now() - started).toBeLessThan(3_000)
  await until(async () => house.faults.calls.length >= 2)
  expect(await house.tokenRows()).toHaveLength(0)
  house.faults.heal()
  await expect(goodToken(house)).resolves.toBe('one, and it works')
})

test('after a day without success the job fails and its token is revoked', async () => {
  await using house = await startSlackHouse()
  house.faults.fail('chat.postMessage', { kind: 'status', status: 500 }, 1_000)
  await ask(house)
  await until(async () => (await house.tokenRows()).length === 1)
  await house.store.pool.query(`UPDATE slack_jobs SET created_at = now() - interval '25 hours'`)
  expect(await house.jobsDone()).toEqual([{ kind: 'answer', state: 'failed' }])
  expect((await house.tokenRows())[0]?.revoked_at).toBeInstanceOf(Date)
})

test('a person whom Slack cannot reach gets no token that lives on', async () => {
  await using house = await startSlackHouse()
  const { alice } = house.slack.people
  await house.sender.slashCommand({ user: 'U0NOBODY00', text: '', channel: house.slack.generalChannel })
  expect(await house.jobsDone()).toEqual([{ kind: 'answer', state: 'failed' }])
  expect(await house.tokenRows()).toHaveLength(0)
  expect(await house.said(alice.id)).toHaveLength(0)
})

test('a worker killed between issue and delivery leaves one token, and the one delivered works', async () => {
  await using house = await startSlackHouse()
  const { alice } = house.slack.people
  // The first replica is a process of its own, which is killed while Slack is silent on its message.
  house.faults.fail('chat.postMessage', { kind: 'hang' })
  await house.app[Symbol.asyncDispose]()
  const child = fork(new URL('../support/slack-replica.ts', import.meta.url), [], {
    env: {
      ...process.env,
      TEST_DATABASE_URL: house.store.url,
      TEST_API_URL: house.faults.apiUrl,
      TEST_SIGNING_SECRET: signingSecret,
      TEST_PUBLIC_URL: publicUrl,
    },
  })
  await once(child, 'message')
  await ask(house)
  await until(async () => house.faults.calls.some(({ method }) => method === 'chat.postMessage'))
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  expect(await house.tokenRows()).toHaveLength(1)
  expect(await house.said(alice.id)).toHaveLength(0)

  await house.store.pool.query('UPDATE slack_jobs SET locked_until = now()')
  await using _second = await house.replica()
  await expect(goodToken(house)).resolves.toBe('one, and it works')
})

test('a worker that was overtaken delivers nothing and leaves the delivered token alone', async () => {
  await using house = await startSlackHouse()
  house.faults.fail('users.info', { kind: 'slow', ms: 2_500 })
  await ask(house)
  await until(async () => house.faults.calls.some(({ method }) => method === 'users.info'))
  await house.store.pool.query('UPDATE slack_jobs SET locked_until = now()')
  await using _second = await house.replica()
  await expect(goodToken(house)).resolves.toBe('one, and it works')
  await until(async () => house.logLines.some((line) => line.includes('slack job taken over')))
  await expect(goodToken(house)).resolves.toBe('one, and it works')
})

test('a database that is down is told to the person, and nothing was issued', async () => {
  await using house = await startSlackHouse()
  await house.store.pool.query('ALTER TABLE slack_jobs RENAME TO slack_jobs_away')
  const answer = await ask(house)
  expect(answer.body).toContain('Nothing was issued')
  const { alice } = house.slack.people
  const message = await house.sender.directMessage({
    user: alice.id,
    text: 'mcp-token',
    channel: 'D1',
    id: 'Ev0AGAIN',
  })
  expect(message.status).toBe(500)
  await house.store.pool.query('ALTER TABLE slack_jobs_away RENAME TO slack_jobs')
  const again = await house.sender.directMessage({
    user: alice.id,
    text: 'mcp-token',
    channel: 'D1',
    id: 'Ev0AGAIN',
  })
  expect(again.status).toBe(200)
  await expect(goodToken(house)).resolves.toBe('one, and it works')
})
