// Writes the part of Okta's description that the source `okta` uses, and an answer for each of its paths:
// okta-contract.mjs DESCRIPTION EXAMPLES [NEWER] < one path template with its query on each line.
// Okta publishes its description of 2022 (Swagger 2.0) on npm. NEWER is a file with a later one, of which the paths that it has are used.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const [description, examplesFile, newer] = process.argv.slice(2)
const wanted = readFileSync(0, 'utf8').split('\n').filter(Boolean).map(line => line.split('?'))
const require = createRequire(new URL('../../target/interop/node/', import.meta.url))
const whole = JSON.parse(readFileSync(newer ?? require.resolve('@okta/openapi/dist/spec.json'), 'utf8'))

// The description of 2022 lacks the list of API tokens. After "List all API token metadata" in Okta's API reference:
// https://developer.okta.com/docs/api/openapi/okta-management/management/tag/ApiToken/#tag/ApiToken/operation/listApiTokens
const text = (more = {}) => ({ type: 'string', ...more })
const time = text({ format: 'date-time' })
if (!newer) {
  const token = {
    type: 'object', required: ['name'], properties: {
      id: text(), name: text(), userId: text(), clientName: text(), tokenWindow: text({ pattern: '^P' }),
      network: { type: 'object', properties: { connection: text() } }, created: time, lastUpdated: time, expiresAt: time
    }
  }
  const schema = { type: 'array', items: token }
  whole.paths['/api/v1/api-tokens'] = { get: { parameters: [], responses: { 200: { description: 'OK', schema } } } }
}

// It writes "any value" as "an object" for members without fixed names, and does not know roles that an organisation defines.
const correct = node => {
  if (node === null || typeof node !== 'object') return
  if (node.additionalProperties?.type === 'object' && Object.keys(node.additionalProperties).length === 1) node.additionalProperties = true
  Object.values(node).forEach(correct)
}
if (!newer) {
  correct(whole.definitions)
  whole.definitions.RoleType.enum.push('CUSTOM')
}

// Names of parameters differ between the table and the description. Fixed parts may stand for a parameter: /users/me.
const isName = part => part.startsWith('{')
const parts = path => path.split('/')
const fits = (known, path) => {
  const [a, b] = [parts(known), parts(path)]
  return a.length === b.length && a.every((part, i) => isName(part) || (!isName(b[i]) && part === b[i]))
}
const paths = {}
const templates = new Map()
for (const [path, query] of wanted) {
  const known = Object.keys(whole.paths).filter(known => fits(known, path))
    .sort((a, b) => parts(a).filter(isName).length - parts(b).filter(isName).length)[0]
  if (known === undefined && newer) continue
  if (known === undefined) throw new Error(`not in Okta's description: ${path}`)
  paths[known] = whole.paths[known]
  templates.set(path, known)
  const deref = node => node.$ref ? node.$ref.slice(2).split('/').reduce((at, key) => at[key], whole) : node
  const names = (paths[known].get.parameters ?? []).map(deref).filter(p => p.in === 'query').map(p => p.name)
  for (const name of new URLSearchParams(query ?? '').keys()) {
    // Prism lets unknown parameters pass.
    if (!names.includes(name)) throw new Error(`${path} has no parameter ${name}, but ${names}`)
  }
}

// Our own records. Okta sends null for members without a value, which its description does not allow.
const withoutNulls = node => {
  if (Array.isArray(node)) return node.map(withoutNulls)
  if (node === null || typeof node !== 'object') return node
  return Object.fromEntries(Object.entries(node).filter(([, value]) => value !== null).map(([key, value]) => [key, withoutNulls(value)]))
}
// Two of them are malformed on purpose.
const malformed = ['time without a zone', 'members of other types']
const fixtures = ['events', 'listings'].flatMap(name => {
  const file = new URL(`../../evidence-format/derive/src/okta/fixtures/${name}.jsonl`, import.meta.url)
  return readFileSync(file, 'utf8').split('\n').filter(Boolean).map(line => JSON.parse(line)).filter(({ case: name }) => !malformed.includes(name))
})
const examples = {}
for (const path of templates.keys()) {
  const records = fixtures.filter(({ uri }) => fits(path, new URL(uri).pathname)).map(({ record }) => withoutNulls(record))
  examples[path] = path.endsWith('/me') ? records[0] : records
}
writeFileSync(description, JSON.stringify({ ...whole, paths }))
writeFileSync(examplesFile, JSON.stringify(examples))
