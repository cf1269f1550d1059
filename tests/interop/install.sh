#!/usr/bin/env bash
# Installs the third-party programs that the tests run: Debian packages, and two Python venvs and a Node folder in target/interop.
# Needs Debian 12, root for apt, Python 3.11 with venv, and Node 20. It skips what is already installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
prefix=$here/../../target/interop
mkdir -p "$prefix/node"

# Versions in Debian 12: skopeo 1.9, umoci 0.4, docker-registry 2.8, borg 1.2, restic 0.14, openssl 3.0, zstd 1.5, jq 1.6, PostgreSQL 15,
# Alertmanager 0.25, Prometheus 2.42 (for promtool).
packages=(openssl jq tar zstd strace skopeo umoci docker-registry borgbackup restic postgresql-15 prometheus prometheus-alertmanager)
# dpkg-query fails for unknown packages, so this counts the lines that it prints.
installed=$(dpkg-query --show --showformat='${db:Status-Status}\n' "${packages[@]}" 2> /dev/null | grep -cx installed || true)
if [[ $installed -lt ${#packages[@]} ]]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq --yes --no-install-recommends "${packages[@]}" > "$prefix/apt.log" || { cat "$prefix/apt.log" >&2; exit 1; }
fi

# A copy of the pins, written last, marks a complete installation and its versions.
if ! cmp -s "$here/requirements.txt" "$prefix/venv/installed.txt"; then
  python3 -m venv --clear "$prefix/venv"
  "$prefix/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$prefix/venv/installed.txt"
fi
# LocalEmu needs Python 3.13, which Debian 12 does not have. Without it, the tests that use LocalEmu are skipped.
python=
for candidate in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13; do
  if "$candidate" -c '' 2> /dev/null; then python=$candidate; break; fi
done
if [[ -z $python ]]; then
  echo "SKIPPED: LocalEmu, as there is no Python 3.13" >&2
elif ! cmp -s "$here/localemu.txt" "$prefix/localemu/installed.txt"; then
  "$python" -m venv --clear "$prefix/localemu"
  "$prefix/localemu/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps --requirement "$here/localemu.txt"
  cp "$here/localemu.txt" "$prefix/localemu/installed.txt"
fi
if ! cmp -s "$here/package-lock.json" "$prefix/node/node_modules/installed.json"; then
  cp "$here/package.json" "$here/package-lock.json" "$prefix/node"
  npm ci --prefix "$prefix/node" --silent --ignore-scripts --no-audit --no-fund
  cp "$here/package-lock.json" "$prefix/node/node_modules/installed.json"
fi
