// Writes the part of GitHub's OpenAPI description that the source `github` uses, and GitHub's own example of each answer:
// github-contract.mjs DESCRIPTION EXAMPLES < one path template with its query on each line. Prism takes 10 s and 300 MB for the whole description.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const [description, examplesFile] = process.argv.slice(2)
const lines = readFileSync(0, 'utf8').split('\n').filter(Boolean)
const wanted = new Set(lines.map(line => line.split('?')[0].replace('/{me}', '/user')))
const require = createRequire(new URL('../../target/interop/node/', import.meta.url))
const whole = JSON.parse(readFileSync(require.resolve('@octokit/openapi/generated/ghec.json'), 'utf8'))

// Names of parameters differ between the table and the description: only their places count.
const shape = path => path.replace(/\{[^}]+\}/g, '{}')
const shapes = new Map([...wanted].map(path => [shape(path), path]))
const paths = Object.fromEntries(Object.entries(whole.paths).filter(([path]) => shapes.has(shape(path))))
const found = new Set(Object.keys(paths).map(shape))
const unknown = [...shapes].filter(([key]) => !found.has(key)).map(([, path]) => path)
if (unknown.length > 0) throw new Error(`not in GitHub's description: ${unknown.join(', ')}`)

const resolve = node => {
  while (node?.$ref) node = node.$ref.slice(2).split('/').reduce((at, key) => at[key.replaceAll('~1', '/')], whole)
  return node
}
const components = {}
const todo = [paths]
while (todo.length > 0) {
  const node = todo.pop()
  if (node === null || typeof node !== 'object') continue
  if (typeof node.$ref === 'string') {
    const [kind, name] = node.$ref.split('/').slice(2).map(key => key.replaceAll('~1', '/'))
    components[kind] ??= {}
    if (!(name in components[kind])) todo.push(components[kind][name] = whole.components[kind][name])
  }
  todo.push(...Object.values(node))
}
// The description says that this parameter is one time; GitHub's documentation of it, that it is a range of them.
if (components.parameters?.created) delete components.parameters.created.schema.format

const examples = {}
for (const [path, { get }] of Object.entries(paths)) {
  const json = get?.responses?.['200']?.content?.['application/json']
  const example = json && (json.example ?? resolve(Object.values(json.examples ?? {})[0])?.value)
  if (example !== undefined) examples[shapes.get(shape(path))] = example
}
// Five of GitHub's examples do not satisfy GitHub's description of them.
const actor = examples['/orgs/{org}/members'][0]
examples['/orgs/{org}/actions/variables'].variables.forEach(variable => { variable.value = String(variable.value) })
examples['/repos/{owner}/{repo}/actions/runs/{run}/attempts/{attempt}/jobs'].jobs.forEach(job => { job.created_at = job.started_at })
examples['/repos/{owner}/{repo}/activity'].forEach(push => {
  Object.assign(push, { timestamp: '2026-11-20T10:50:00Z', activity_type: 'force_push', actor })
})
examples['/repos/{owner}/{repo}/branches'].forEach(branch => { delete branch.protection })
for (const run of examples['/repos/{owner}/{repo}/actions/runs'].workflow_runs) {
  Object.assign(run, { run_attempt: 2, path: '.github/workflows/build.yml' })
}
const protection = '/repos/{owner}/{repo}/branches/{branch}/protection'
examples[protection] = { url: examples[protection].url, allow_force_pushes: { enabled: true } }
const { openapi, info, servers } = whole
writeFileSync(description, JSON.stringify({ openapi, info, servers, paths, components }))
writeFileSync(examplesFile, JSON.stringify(examples))
