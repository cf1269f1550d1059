// usage: node run_check_bundle.mjs VECTORS_DIR: runs check-bundle.mjs over the vectors. What SPEC.md accepts it must accept; what breaks a
// rule in its scope it must refuse by the same code. Of the rest it may accept anything.
import { existsSync, lstatSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Fault, check } from "./check-bundle.mjs";

// The files of a bundle by name, whatever their order.
function files(path) {
  const found = new Map();
  if (lstatSync(path).isDirectory()) {
    for (const name of readdirSync(path, { recursive: true })) if (lstatSync(join(path, name)).isFile()) found.set(name, readFileSync(join(path, name)));
    return found;
  }
  for (let tar = readFileSync(path), at = 0; at + 512 <= tar.length && tar[at];) {
    const size = parseInt(tar.toString("latin1", at + 124, at + 135), 8), name = tar.toString("latin1", at, at + 100).split("\0")[0];
    found.set(name, tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return found;
}
const SCOPE = ["blob-missing", "blob-digest", "other-kind", "bundle-count", "attestation", "version", "config", "manifest-config", "disclosure-key", "item-size",
  "item-root", "unsigned", "other-signer", "statement", "statement-subject", "statements-differ", "reserved"];
const folder = process.argv[2];
let [run, bad, refused] = [0, 0, 0];
for (const name of readdirSync(folder).filter((name) => /^[0-9]{3}-.*\.json$/.test(name))) {
  const vector = JSON.parse(readFileSync(join(folder, name))), base = join(folder, name.slice(0, -5));
  if (vector.trust.bundle || vector.rule.startsWith("SPEC §3.4")) continue; // it brings no expected id, or is about the form of a tar
  let found;
  try {
    found = check(files(existsSync(`${base}.tar`) ? `${base}.tar` : base), vector.trust.keys.map((key) => readFileSync(join(folder, key))));
  } catch (fault) {
    found = fault instanceof Fault ? fault.message : `stopped: ${fault.stack}`;
  }
  const { integrity, signer } = vector.expect, code = (integrity === "ok" ? signer : integrity).replace("failed ", "");
  const wrong = integrity === "ok" || SCOPE.includes(code) ? found !== code : found.startsWith("stopped");
  [run, bad, refused] = [run + 1, bad + wrong, refused + (SCOPE.includes(code) && !wrong)];
  if (wrong) console.log(`${name}: expected ${code}, found ${found} [${vector.rule}]`);
}
console.log(`${run} run, ${refused} refused by a rule in scope, ${bad} failed`);
process.exitCode = bad || run < 200 || refused < 100 ? 1 : 0;
