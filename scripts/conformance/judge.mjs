// Judges the results of http-cache-tests:  node judge.mjs <package dir> <results.json> <exceptions>
//
// A required test passes, or is named in the exceptions with its reason; so does every optimal test. Fewer than 95 % of
// the optimal ones passing is a failure whatever is named. An exception that passes is a failure too: strike it out.
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [dir, resultsFile, exceptionsFile] = process.argv.slice(2)
const load = async name => (await import(pathToFileURL(path.join(dir, 'tests', name)).href)).default
const suites = [...await load('index.mjs'), await load('surrogate-control.mjs')]
const results = JSON.parse(fs.readFileSync(resultsFile, 'utf8'))

const exceptions = new Map()
let reason = ''
for (const line of fs.readFileSync(exceptionsFile, 'utf8').split('\n')) {
  if (line.startsWith('#')) reason = line.slice(1).trim()
  else if (line.trim() !== '') exceptions.set(line.trim(), reason)
}

const tests = new Map()
for (const suite of suites) {
  for (const test of suite.tests) if (!test.browser_only) tests.set(test.id, test)
}
// As the suite's own pages count: a test whose precondition failed has shown nothing.
const passed = id => results[id] === true && (tests.get(id).depends_on || []).every(passed)

const count = {}
const bad = []
const excepted = new Map() // reason to tests
for (const [id, test] of tests) {
  const kind = test.kind || 'required'
  const c = count[kind] ??= { passed: 0, of: 0 }
  c.of++
  if (passed(id)) {
    c.passed++
    if (exceptions.has(id)) bad.push(`${id} passes: strike it out of ${exceptionsFile}`)
    continue
  }
  if (kind === 'check') continue
  const why = results[id] === true ? 'what it depends on failed' : results[id] ? results[id].join(': ') : 'not run'
  if (exceptions.has(id)) excepted.set(exceptions.get(id), [...excepted.get(exceptions.get(id)) ?? [], `${id} (${kind})`])
  else bad.push(`${kind} ${id}: ${why}`)
}
for (const id of exceptions.keys()) if (!tests.has(id)) bad.push(`${id} is no test: strike it out of ${exceptionsFile}`)

for (const [why, ids] of excepted) console.log(`excepted  ${ids.join(', ')}\n          ${why}`)
for (const kind of ['required', 'optimal', 'check']) {
  console.log(`${kind.padEnd(9)} ${count[kind].passed} of ${count[kind].of}${kind === 'check' ? ' answered yes (neither is wrong)' : ' passed'}`)
}
if (count.optimal.passed < 0.95 * count.optimal.of) bad.push('fewer than 95 % of the optimal tests pass')
for (const line of bad) console.log(`FAILED    ${line}`)
process.exit(bad.length ? 1 : 0)
