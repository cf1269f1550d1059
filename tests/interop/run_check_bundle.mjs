// usage: node run_check_bundle.mjs VECTORS_DIR: runs check-bundle.mjs over the vectors. What SPEC.md calls sound it must accept; all else it
// must refuse, but for the vectors in check-bundle-accepts.txt, a list that only shrinks.
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const here = import.meta.dirname, folder = process.argv[2], work = mkdtempSync(join(tmpdir(), "check-bundle-"));
const listed = new Set(readFileSync(join(here, "check-bundle-accepts.txt"), "utf8").match(/^[0-9]{3}/gm));
const exitCode = (...args) => new Promise((done) => execFile("node", [join(here, "check-bundle.mjs"), ...args], (error) => done(error?.code ?? 0)));

// The tar of a vector; a folder is packed first.
function tarOf(name) {
  const [tar, packed] = [join(folder, `${name}.tar`), join(work, `${name}.tar`)];
  if (!existsSync(tar)) execFileSync("tar", ["--format=ustar", "-C", join(folder, name), "-cf", packed, ...readdirSync(join(folder, name))]);
  return existsSync(tar) ? tar : packed;
}
async function isAccepted(name, keys) {
  const codes = await Promise.all(keys.map((key) => exitCode(tarOf(name), join(folder, key))));
  if (codes.some((code) => ![0, 1, 2].includes(code))) throw Error(`${name}: exit codes ${codes}`);
  return codes.includes(0);
}
const names = readdirSync(folder).filter((name) => /^[0-9]{3}-.*\.json$/.test(name)).map((name) => name.slice(0, -5));
let [run, bad] = [0, 0];
async function runSome() {
  for (let name; (name = names.pop());) {
    const { expect, rule, trust } = JSON.parse(readFileSync(join(folder, `${name}.json`)));
    if (!trust.keys.length) continue; // it cannot be run without a key
    const wanted = expect.integrity === "ok" && expect.signer === "ok" || listed.has(name.slice(0, 3));
    const accepted = await isAccepted(name, trust.keys);
    run += 1;
    if (accepted === wanted) continue;
    bad += 1;
    console.log(`${name}: ${accepted ? "accepted" : "refused"}, SPEC.md: ${expect.integrity}, ${expect.signer} [${rule}]`);
  }
}
await Promise.all([runSome(), runSome()]);
rmSync(work, { recursive: true });
console.log(`${run} run, ${bad} failed`);
process.exitCode = bad || run < 300 ? 1 : 0;
