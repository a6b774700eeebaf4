/** What other languages' own encoders write of some texts, in one run of each; where they are is for `needing`. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Every writing of every text. */
export type Encoder = (texts: readonly string[]) => string[]

const python = `
import json, sys
from html import escape
from urllib.parse import quote, quote_plus, urlencode
kinds = [
    quote, lambda v: quote(quote(v)), lambda v: quote(v, safe=""), quote_plus,
    lambda v: quote(v, safe="/:@&+$,-_.!~*'()"), lambda v: quote_plus(quote(v)), lambda v: urlencode({"v": v}),
    escape, json.dumps,
]
print(json.dumps([kind(text) for text in json.load(sys.stdin) for kind in kinds]))
`

const go = `package main

import (
	"encoding/json"
	"html/template"
	"net/url"
	"os"
	"strings"
)

var pages = []string{
	"<script>v = '{{.}}'</script>", "<script>v = \`{{.}}\`</script>", "<script>v = {{.}}</script>",
	"<a title={{.}}>", "<a title=\\"{{.}}\\">", "<p>{{.}}</p>", "<a href=\\"/?k={{.}}\\">",
	"<a onclick=\\"v('{{.}}')\\">",
}

func main() {
	var texts, written []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		panic(err)
	}
	for _, page := range pages {
		made := template.Must(template.New("page").Parse(page))
		for _, text := range texts {
			var out strings.Builder
			if err := made.Execute(&out, text); err != nil {
				panic(err)
			}
			written = append(written, out.String())
		}
	}
	for _, v := range texts {
		written = append(written, url.PathEscape(v), url.PathEscape(url.PathEscape(v)), url.QueryEscape(v),
			url.QueryEscape(url.PathEscape(v)), url.UserPassword("u", v).String(),
			(&url.URL{Scheme: "http", Host: "h", Path: "/" + v}).String(),
			template.JSEscapeString(v), template.HTMLEscapeString(v))
	}
	json.NewEncoder(os.Stdout).Encode(written)
}
`

export const pythonEncoders: Encoder = (texts) => run('python3', ['-c', python], texts)

export const goEncoders: Encoder = (texts) => {
  const folder = mkdtempSync(join(tmpdir(), 'toolcrib-encoders-'))
  try {
    const file = join(folder, 'main.go')
    writeFileSync(file, go)
    return run('go', ['run', file], texts)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Those of the platform: what browsers and Node write. */
export const ownEncoders: Encoder = (texts) =>
  texts.flatMap((text) => {
    const address = new URL('http://host')
    address.password = text
    address.searchParams.set('v', text)
    // oxlint-disable-next-line typescript/no-deprecated -- programs that still call it are what this is about
    return [encodeURIComponent(text), encodeURI(text), escape(text), escape(escape(text)), address.href]
  })

function run(program: string, args: string[], texts: readonly string[]): string[] {
  const out = execFileSync(program, args, { input: JSON.stringify(texts), maxBuffer: 64 * 1024 * 1024 })
  return JSON.parse(out.toString()) as string[]
}
