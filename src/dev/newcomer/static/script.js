// What moves on the newcomer's page: new messages appear, forms send without a reload, Copy copies.
const list = document.getElementById('messages')
const as = new URLSearchParams(location.search).get('as') ?? 'alice'
let shown = ''

document.documentElement.classList.add('scripted')

async function refresh() {
  const response = await fetch(`/newcomer/fragment?as=${encodeURIComponent(as)}`)
  if (!response.ok) return
  const text = await response.text()
  if (text === shown) return
  const first = shown === ''
  const known = new Set([...list.querySelectorAll('article')].map((article) => article.id))
  shown = text
  // The server escapes every value in this fragment; the policy forbids scripts in it besides.
  list.innerHTML = text
  const fresh = [...list.querySelectorAll('article')].filter((article) => !known.has(article.id))
  const last = fresh.at(-1)
  if (last === undefined) return
  if (!first) for (const article of fresh) article.classList.add('fresh')
  // A tall message is read from its top.
  last.scrollIntoView({ block: last.offsetHeight > list.clientHeight ? 'start' : 'end' })
}

// Its buttons' forms have a field named `action`, which hides the form's own property of that name.
async function send(form, button) {
  const fields = new FormData(form, button)
  const text = form.querySelector('input[name=text]')
  if (text) text.value = ''
  form.classList.add('busy')
  try {
    const sent = fetch(form.getAttribute('action'), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(Object.fromEntries(fields)),
    })
    setTimeout(() => void refresh(), 60)
    await sent
  } finally {
    form.classList.remove('busy')
    await refresh()
  }
}

document.addEventListener('submit', (event) => {
  event.preventDefault()
  void send(event.target, event.submitter)
})

document.addEventListener('click', (event) => {
  const button = event.target.closest('button.copy')
  if (!button) return
  const pre = button.parentElement.querySelector('pre')
  const done = () => {
    button.textContent = 'Copied'
    setTimeout(() => {
      button.textContent = 'Copy'
    }, 1500)
  }
  navigator.clipboard.writeText(pre.textContent).then(done, () => {
    getSelection().selectAllChildren(pre)
    document.execCommand('copy')
    done()
  })
})

void refresh()
setInterval(() => {
  if (!document.hidden) void refresh()
}, 1000)
