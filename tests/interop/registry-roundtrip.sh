#!/usr/bin/env bash
# Pushes a bundle's folder to a container registry with skopeo, pulls it again, and lists both with umoci:
#
#   registry-roundtrip.sh BUNDLE_DIR [PUB.pem]
#
# Exit code 0: the bundle and attestation have the same digests and exactly the same blobs; with a key, verify.sh also accepts the
# pulled bundle. Any other exit code is a failure.
# The registry is Debian's docker-registry, on a free loopback port. It ends with this script.
set -euo pipefail

die() { printf 'registry-roundtrip.sh: %s\n' "$*" >&2; exit 1; }

bundle=$1
work=$(mktemp -d)
registry=
trap '[[ -z $registry ]] || kill "$registry" || true; rm -rf "$work"' EXIT

# The kernel chooses a free port, which the registry binds a moment later.
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > "$work/registry.yml" << YML
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:$port" }
YML
docker-registry serve "$work/registry.yml" > "$work/registry.log" 2>&1 &
registry=$!
for ((tries = 0; tries < 100; tries++)); do
  (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break
  sleep 0.1
done
[[ $tries -lt 100 ]] || die "the registry does not answer: $(tail -n 3 "$work/registry.log")"

# skopeo copies single manifests without their referrers, so each is copied under its own name.
copy() { skopeo --insecure-policy copy --quiet --preserve-digests "$@"; }
for name in bundle attestation public-key; do
  copy --dest-tls-verify=false "oci:$bundle:$name" "docker://127.0.0.1:$port/exhibit:$name"
  copy --src-tls-verify=false "docker://127.0.0.1:$port/exhibit:$name" "oci:$work/back:$name"
done

# Prints the name and digest of every manifest in an index.
listed() { jq -r '.manifests[] | "\(.annotations["org.opencontainers.image.ref.name"]) \(.digest)"' "$1/index.json" | sort; }
diff <(listed "$bundle") <(listed "$work/back") || die "the digests have changed"
diff --recursive "$bundle/blobs" "$work/back/blobs" || die "the blobs have changed"

# Exit code 4: sound, and the bundle states gaps.
[[ $# -lt 2 ]] || "$(dirname "$0")/verify.sh" "$work/back" "$2" > /dev/null || [[ $? -eq 4 ]]
for layout in "$bundle" "$work/back"; do
  [[ $(umoci ls --layout "$layout" | sort | tr '\n' ' ') == "attestation bundle public-key " ]] || die "umoci does not list all names in $layout"
done
echo "skopeo, docker-registry, umoci: ok, $(listed "$bundle" | wc -l) manifests, $(find "$bundle/blobs" -type f | wc -l) blobs"
