#!/usr/bin/env bash
# Verifies an Exhibit bundle (a folder or a tar) with a public key, without Exhibit's programs.
#
#   verify.sh BUNDLE PUB.pem
#
# Needs bash, coreutils, awk, find, tar, jq, zstd and openssl 3. Exit code 0: all checks pass; 1: a check fails, and standard error has
# the reason; 3: undecided, since the file has what only a later version of the format knows (a container of another kind, another version, a
# statement by a witness, log entries); 4: all is sound, and the bundle itself says that something is missing or may be. Get PUB.pem from a source other than the bundle: a bundle cannot vouch for itself.
# Where it says ok to what SPEC.md calls invalid is listed in verify-sh-accepts.txt: mostly the form of zstd frames and of segment lists.
# Large bundles take time, so standard error names each item when its check begins.
# Not checked: the time of signing, the log, earlier bundles of the stream, and the meaning of the WARC records in an item.
set -euo pipefail
export LC_ALL=C TZ=UTC # counts bytes, not characters, and prints names without terminal escapes

leaves_max=100 # the record trees of larger items are not recomputed: a shell needs about 20 ms for each segment

die() { printf 'verify.sh: %s\n' "$*" >&2; exit 1; }
undecided() { printf 'verify.sh: undecided: %s\n' "$*" >&2; verdict=3; exit 3; }
note() { printf 'verify.sh: note: %s\n' "$*" >&2; }
# The SHA-256 of standard input, as 64 hex digits.
sha256() { sha256sum | cut -c -64; }
# Converts standard input to hex digits.
hex() { basenc --base16 -w0; }
# Converts hex digits to bytes.
unhex() { printf %s "${1^^}" | basenc --base16 -d; }
# Prints a value of a JSON file: json FILE FILTER. Fails if the value is null or absent.
json() { jq -er "$2" "$1" || die "no $2 in $1"; }
# True if a file is a single JSON value that meets a condition: holds FILE CONDITION [jq options].
holds() { jq -es "${@:3}" "length == 1 and (.[0] | ($2))" "$1" > /dev/null 2>&1; }
# Accepts only canonical JSON (RFC 8785): without duplicate keys, further values or blanks, all programs read the same document.
# (jq writes the character DEL as an escape, RFC 8785 does not.)
canonical() {
  jq -cSj . "$1" 2> /dev/null | sed 's/\\u007f/\x7f/g' | cmp -s - "$1" || die "$2 is not canonical JSON"
  holds "$1" 'all(paths(type == "object" or type == "array"); length < 16)' || die "$2 is nested more than 16 deep"
}
# True if no member of a JSON file stands twice, of which jq reads the last.
has_no_duplicates() { ! jq -c --stream 'select(length == 2)[0]' "$1" | sort | uniq -d | grep -q .; }
# True if an Ed25519 point, in 64 upper-case hex digits, has small order or is not canonical. OpenSSL takes both (RFC 8032 does not say no).
is_weak() {
  local ones zeros
  ones=$(printf 'F%.0s' {1..60}) zeros=$(printf '0%.0s' {1..62})
  case $(printf '%s%02X' "${1:0:62}" $((16#${1:62:2} & 127))) in
    0[01]$zeros | E[C-F]${ones}7F | F?${ones}7F | \
    C7176A703D4DD84FBA3C0B760D10670F2A2053FA2C39CCC64EC7FD7792AC037A | 26E8958FC2B227B045C3F489F2EF98F0D5DFAC05D3C63339B13802886D53FC05) ;;
    *) return 1 ;;
  esac
}
# Prints the file of a blob. The digest is untrusted text, so its format is checked first.
blob() {
  [[ $1 =~ ^sha256:[0-9a-f]{64}$ ]] || die "not a digest: ${1@Q}"
  [[ -f blobs/sha256/${1#sha256:} ]] || die "blob $1 is missing"
  printf 'blobs/sha256/%s' "${1#sha256:}"
}

# Forms of SPEC.md §2 and §4, for jq. Times compare as texts do, without the Z.
forms='
  def time: type == "string" and test("\\A(?!0000|9999)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\\.[0-9]{0,8}[1-9])?Z\\z")
    and (.[5:10] | . != "02-30" and . != "02-31" and . != "04-31" and . != "06-31" and . != "09-31" and . != "11-31")
    and (.[5:10] != "02-29" or (.[0:4] | tonumber | . % 4 == 0 and (. % 100 != 0 or . % 400 == 0)));
  def at: rtrimstr("Z");
  def window: . == null or (keys == ["from", "until"] and all(.[]; time) and (.from | at) <= (.until | at));
  def digest: type == "string" and test("\\Asha256:[0-9a-f]{64}\\z");
  def incident: type == "string" and test("\\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\\z");
  def name: type == "string" and test("\\A[a-z0-9][a-z0-9._-]{0,127}\\z");
  def text: type == "string";
  def text0: . == null or type == "string";
  def int: type == "number";
  def int0: . == null or type == "number";
  '

[[ $# -eq 2 ]] || die "usage: verify.sh BUNDLE PUB.pem"
work=$(mktemp -d)
verdict=1 # what a failure means; if a tool fails, it has printed the reason
trap 'status=$?; rm -rf "$work"; exit $((status ? verdict : 0))' EXIT

# 1. The key must be Ed25519: these 12 bytes, then 32 bytes of key. Its id is the base64 of the SHA-256 of its DER form.
openssl pkey -pubin -in "$2" -outform DER -out "$work/key.der" 2> /dev/null || die "$2 is not a public key in PEM"
[[ $(hex < "$work/key.der") =~ ^302A300506032B6570032100([0-9A-F]{64})$ ]] || die "$2 is not an Ed25519 key"
! is_weak "${BASH_REMATCH[1]}" || die "$2 is a weak key: anybody can sign for it"
openssl pkey -pubin -inform DER -in "$work/key.der" -out "$work/key.pem"
key_id=$(openssl dgst -sha256 -binary "$work/key.der" | base64 -w0)

# 2. The container. A tar is checked before it is unpacked: it may only have regular files with the names of a bundle, each once, whose
# total size is at most that of the tar (sparse members could exceed it). So nothing is written outside the temporary folder.
if [[ -f $1 ]]; then
  tar --list --verbose --numeric-owner --force-local --file "$1" > "$work/members" 2> /dev/null || die "$1 is not a tar"
  awk '!/^-/ { exit 1 }' "$work/members" || die "the tar has a member that is not a plain file"
  awk '$1 != "-r--r--r--" || $2 != "0/0" || $4 != "1970-01-01" { exit 1 }' "$work/members" || die "the tar has a member with another mode, owner or time"
  awk -v max="$(stat -L -c %s "$1")" '{ sum += $3 } END { exit sum > max }' "$work/members" || die "the tar's members are larger than the tar"
  tar --list --absolute-names --force-local --file "$1" > "$work/order"
  sort "$work/order" > "$work/names"
  ! grep -vxE 'oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}' "$work/names" > "$work/odd" \
    || die "the tar has a member named $(head -n 1 "$work/odd")"
  [[ -z $(uniq -d "$work/names") ]] || die "the tar has a member twice"
  # The tar is plain POSIX ustar: each file in whole blocks of 512 bytes, behind one header block, then two blocks of zeros, and nothing else.
  # So nothing is hidden in other headers or behind the end.
  [[ $(head -c 262 "$1" | tail -c 5) == ustar ]] || die "the tar is compressed, or of another kind"
  awk -v size="$(stat -L -c %s "$1")" '{ sum += 512 + int(($3 + 511) / 512) * 512 + ($3 >= 2 ^ 33 ? 1024 : 0) } END { exit sum + 1024 != size }' \
    "$work/members" || die "the tar has more or fewer bytes than its files take"
  tail -c 1024 "$1" | cmp -s - <(head -c 1024 /dev/zero) || die "the tar does not end in zeros"
  # Each header has one spelling, and contents are padded with zeros. (A header before a file of 8 GiB or more is not looked at.)
  awk -v headers="$work/headers" '
    function put(text, width) { out = out text; for (i = length(text); i < width; i++) out = out "@" } # "@" stands for a zero byte
    BEGIN { for (i = 1; i < 127; i++) code[sprintf("%c", i)] = i; code["@"] = 0 }
    { size = $3; out = ""; put($6, 100); put("0000444", 8); put("0000000", 8); put("0000000", 8)
      put(sprintf("%011o", size < 2 ^ 33 ? size : 0), 12); put("00000000000", 12); tail = out
      out = "0"; put("", 100); put("ustar@00", 255); sum = 8 * 32
      for (i = 1; i <= length(tail); i++) sum += code[substr(tail, i, 1)]
      for (i = 1; i <= length(out); i++) sum += code[substr(out, i, 1)]
      printf "%s%06o@ %s", tail, sum, out > headers
      at += size < 2 ^ 33 ? 0 : 1024
      printf "%.0f %.0f %.0f\n", at, at + 512 + size, (512 - size % 512) % 512
      at += 512 + size + (512 - size % 512) % 512 }' "$work/members" > "$work/places"
  tr @ '\0' < "$work/headers" > "$work/headers.bin"
  n=0
  while read -r at end padding; do
    cmp -s -n 512 -i "$at:$((n++ * 512))" "$1" "$work/headers.bin" || die "the tar has a header that is not spelt as it must be"
    [[ $padding -eq 0 ]] || cmp -s -n "$padding" -i "$end:0" "$1" /dev/zero || die "the tar has something between two files"
  done < "$work/places"
  mkdir "$work/bundle"
  tar --extract --force-local --file "$1" --directory "$work/bundle" --no-same-owner --no-same-permissions
  cd "$work/bundle"
else
  [[ -d $1 ]] || die "$1 is neither a tar nor a folder"
  cd -- "$1"
  [[ -z $(find . ! -type f ! -type d -print -quit) ]] || die "the folder has something that is neither a file nor a folder"
  find . -regextype posix-extended -type f ! -regex '\./(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})' > "$work/odd"
  [[ ! -s $work/odd ]] || die "the folder has a file named $(head -n 1 "$work/odd" | cat -v)"
fi
[[ -f oci-layout && -f index.json && -d blobs/sha256 ]] || die "this is not an OCI image layout"
# This file need not be canonical: skopeo writes a blank into it.
[[ $(stat -c %s oci-layout) -le 64 ]] || die "oci-layout is too long"
holds oci-layout '. == {"imageLayoutVersion": "1.0.0"}' && has_no_duplicates oci-layout || die "oci-layout is not that of version 1.0.0"

# 3. The name of every blob is the SHA-256 of its bytes. From here on, a digest identifies its bytes.
find blobs/sha256 -type f -printf '%f  %p\n' | sort > "$work/sums"
sha256sum --check --strict --quiet "$work/sums" > "$work/bad" 2> /dev/null || die "not the bytes that its name promises: $(head -n 1 "$work/bad")"

# 4. The bundle and its attestation. index.json lists their manifests. It is not signed, so it is only a hint: the type of a manifest
# comes from its own bytes. The attestation is the manifest whose subject is the bundle.
holds index.json '(keys - ["mediaType"]) == ["manifests", "schemaVersion"] and .schemaVersion == 2 and (.manifests | type == "array" and length <= 64)
  and all(.manifests[]; keys - ["annotations", "artifactType"] == ["digest", "mediaType", "size"]
    and .mediaType == "application/vnd.oci.image.manifest.v1+json"
    and ((has("annotations") | not) or (.annotations | keys == ["org.opencontainers.image.ref.name"] and all(.[]; type == "string"))))
  and ((has("mediaType") | not) or .mediaType == "application/vnd.oci.image.index.v1+json")
  and all(.manifests[]; (.size | type == "number") and ((has("artifactType") | not) or (.artifactType | type == "string")))
  and ([.manifests[].digest] | length == (unique | length))' && [[ $(head -c 1 index.json)$(tail -c 1 index.json) == "{}" ]] || die "index.json is not an OCI index"
has_no_duplicates index.json || die "index.json has a member twice"
# jq reads 2.0 as 2.
! tr '\n' ' ' < index.json | sed 's/"\([^"\\]\|\\.\)*"//g' | grep -qE '[0-9][.eE]|-|[[:space:]]' || die "index.json has a number that is no integer, or white space"
bundles=() attestations=()
jq -r '.manifests[] | "\(.digest) \(.size)"' index.json > "$work/descriptors"
jq -r '.manifests[].digest' index.json > "$work/manifests"
while read -r digest; do
  file=$(blob "$digest")
  canonical "$file" "the manifest $digest"
  holds "$file" '
    def descriptor: keys - ["annotations", "artifactType"] == ["digest", "mediaType", "size"] and all(.digest, .mediaType; type == "string")
      and (.size | type == "number" and . >= 0 and . == floor) and ((has("artifactType") | not) or (.artifactType | type == "string"))
      and (.annotations | . == null or (type == "object" and length <= 16 and all(.[]; type == "string")));
    keys - ["subject"] == ["artifactType", "config", "layers", "mediaType", "schemaVersion"] and .schemaVersion == 2
    and (.artifactType | type == "string") and .mediaType == "application/vnd.oci.image.manifest.v1+json" and all(.config, .layers[]; descriptor)' || die "$digest is not an OCI manifest"
  # Everything that a listed manifest refers to is expected; see step 5.
  jq -r --arg self "$digest" '$self, .config.digest, .layers[].digest' "$file" >> "$work/listed"
  kind=$(jq -r .artifactType "$file") called=
  case $kind in
    application/vnd.exhibit.bundle.v1) bundles+=("$digest") called=bundle ;;
    application/vnd.dev.sigstore.bundle.v0.3+json) attestations+=("$digest") called=attestation ;;
    application/vnd.exhibit.public-key.v1) called=public-key ;; # counts only if you gave it
    *) ! holds "$file" 'has("subject") | not' || [[ $kind != application/vnd.exhibit.* ]] || touch "$work/other-kind"
      note "manifest $digest is of a kind that is not checked here, and nobody has signed it" ;;
  esac
  holds index.json '.manifests[] | select(.digest == $digest) | ((has("artifactType") | not) or .artifactType == $kind)
    and ($called == "" or (has("annotations") | not) or .annotations["org.opencontainers.image.ref.name"] == $called)' \
    --arg digest "$digest" --arg kind "$kind" --arg called "$called" || die "index.json does not say what $digest is"
done < "$work/manifests"
[[ ${#bundles[@]} -gt 0 || ! -f $work/other-kind ]] || undecided "a container of a kind that is not checked here"
[[ ${#bundles[@]} -eq 1 ]] || die "${#bundles[@]} bundles in index.json instead of one"
[[ ${#attestations[@]} -ge 1 ]] || die "no attestation in index.json"
id=${bundles[0]}
manifest=$(blob "$id")
holds "$manifest" 'has("subject") | not' || die "the bundle's manifest refers to another"
jq -r '.config.digest, .layers[].digest' "$manifest" > "$work/own"
cat "$work/manifests" "$work/own" > "$work/taken"
while read -r digest; do
  [[ $digest != "$id" ]] || continue
  file=$(blob "$digest")
  holds "$file" '.subject == {$digest, "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": ($size | tonumber)}' \
    --arg digest "$id" --arg size "$(stat -c %s "$manifest")" || die "$digest does not refer to the bundle"
  jq -r '.config.digest, .layers[].digest' "$file" >> "$work/theirs"
  jq -r '.config, .layers[] | "\(.digest) \(.size)"' "$file" >> "$work/descriptors"
done < "$work/manifests"
! grep -qxFf "$work/taken" "$work/theirs" || die "a manifest that refers to the bundle points to what belongs to the bundle"
# In a tar, files stand in one order: what is listed first comes first.
if [[ -f $work/order ]]; then
  { printf '%s\n' oci-layout index.json; cat "$work/manifests" "$work/theirs" "$work/own" | sed 's/^sha256:/blobs\/sha256\//'; } \
    | awk '!seen[$0]++' | cmp -s - "$work/order" || die "the tar's files are not in their order, or one is missing"
fi

# 5. There are no files that index.json does not lead to.
sed 's/^sha256://' "$work/listed" | sort -u > "$work/expected"
find blobs/sha256 -type f -printf '%f\n' | sort | comm -23 - "$work/expected" > "$work/stray"
[[ ! -s $work/stray ]] || die "blob $(head -n 1 "$work/stray") belongs to nothing"

# 6. The signatures. The only layer of an attestation is a sigstore bundle without a log entry. Those of other keys are passed over: anybody
# can add one. `verify_attestation MANIFEST` leaves the signed statement in $work/payload.
verify_attestation() {
  local attestation sigstore part type=application/vnd.in-toto+json
  attestation=$(blob "$1")
  holds "$attestation" '.layers | length == 1 and (.[0] | keys == ["digest", "mediaType", "size"] and .mediaType == "application/vnd.dev.sigstore.bundle.v0.3+json")' \
    || die "the attestation has not one layer"
  holds "$attestation" '.config == {"digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "mediaType": "application/vnd.oci.empty.v1+json", "size": 2}' \
    || die "the attestation has a config"
  sigstore=$(blob "$(json "$attestation" '.layers[0].digest')")
  canonical "$sigstore" "the sigstore bundle"
  holds "$sigstore" 'keys == ["dsseEnvelope", "mediaType", "verificationMaterial"] and .mediaType == "application/vnd.dev.sigstore.bundle.v0.3+json"
    and all(.. | numbers; . >= 0 and . == floor and . < 9007199254740992)
    and (.dsseEnvelope | keys == ["payload", "payloadType", "signatures"] and (.payload | type == "string" and test("\\A[A-Za-z0-9+/]*={0,2}\\z") and length % 4 == 0)
      and all(.signatures[]; keys == ["keyid", "sig"] and (.keyid | type == "string" and test("\\A[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\\z"))
        and (.sig | type == "string" and test("\\A[A-Za-z0-9+/]{85}[AQgw]==\\z"))))
    and (.verificationMaterial | keys - ["timestampVerificationData"] == ["publicKey", "tlogEntries"] and (.publicKey | keys == ["hint"])
      and (.tlogEntries | type == "array" and length <= 16 and all(.[]; type == "object"))
      and ((has("timestampVerificationData") | not) or (.timestampVerificationData | keys == ["rfc3161Timestamps"]
        and (.rfc3161Timestamps | type == "array" and length <= 16 and all(.[]; keys == ["signedTimestamp"] and (.signedTimestamp | type == "string"))))))' \
    || die "not a sigstore bundle v0.3"
  holds "$sigstore" '.dsseEnvelope.payloadType == "application/vnd.in-toto+json" and (.dsseEnvelope.signatures | length == 1)' \
    || die "not one signature over an in-toto statement"
  holds "$sigstore" '.dsseEnvelope.signatures[0].keyid == .verificationMaterial.publicKey.hint' || die "the attestation names two keys"
  if ! holds "$sigstore" '.verificationMaterial.publicKey.hint == $key' --arg key "$key_id"; then
    note "attestation $1 is by another key than the given one"
    return 1
  fi
  holds "$sigstore" '.verificationMaterial.timestampVerificationData == null' || note "attestation $1 has a timestamp, which is not checked here"
  # The payload and signature are canonical base64.
  for part in payload signatures[0].sig; do
    jq -ej ".dsseEnvelope.$part" "$sigstore" > "$work/base64" || die "the $part is not there"
    base64 -d "$work/base64" > "$work/${part##*.}" 2> /dev/null || die "the $part is not base64"
    base64 -w0 "$work/${part##*.}" | cmp -s - "$work/base64" || die "the $part is not canonical base64"
  done
  # The signature covers DSSE's pre-authentication encoding: the type and the payload, each preceded by its length in bytes.
  { printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(stat -c %s "$work/payload")"; cat "$work/payload"; } > "$work/signed"
  [[ $(stat -c %s "$work/signed") -le 4095 ]] || die "the statement is too long"
  # With a weak R, whoever has the key could change what it signed.
  if is_weak "$(head -c 32 "$work/sig" | hex)"; then
    note "attestation $1 names the given key, and its signature is degenerate"
    return 1
  fi
  if ! openssl pkeyutl -verify -rawin -pubin -inkey "$work/key.pem" -in "$work/signed" -sigfile "$work/sig" > /dev/null 2>&1; then
    note "attestation $1 names the given key, and its signature does not verify"
    return 1
  fi
}
# 7. The signed statement: this manifest, and so everything that it names by digest, was captured. `check_statement` says what is wrong with it.
check_statement() {
  canonical "$work/payload" "the statement"
  holds "$work/payload" '._type == "https://in-toto.io/Statement/v1" and .predicateType == "urn:exhibit:capture:v1"
    and keys == ["_type", "predicate", "predicateType", "subject"]' || die "the statement is not that of a capture"
  holds "$work/payload" "$forms"'.predicate | keys - ["notBefore"] == ["incident", "role", "signedAt", "stream"] and (.incident | incident)
    and (.role | . == "collector" or . == "witness" or . == "custodian" or . == "auditor" or . == "counsel")
    and ((has("notBefore") | not) or (.notBefore | type == "string")) and (.signedAt | time)
    and (.stream | keys == ["id", "prev", "seq"] and (.id | type == "string" and test("\\A[0-9a-f]{32}\\z")) and (.prev | . == null or digest)
      and (.seq | type == "number" and . >= 0 and . == floor and . < 9007199254740992) and (.prev == null) == (.seq == 0))' || die "the statement is malformed"
  holds "$work/payload" '.subject == [{"digest": {"sha256": $hex}, "name": "bundle"}]' --arg hex "${id#sha256:}" \
    || die "the statement is about another bundle"
  holds "$work/payload" '.predicate.incident == $c[0].incident or $c[0].version != 1' --slurpfile c "$(blob "$(json "$manifest" .config.digest)")" \
    || die "statement and config name different incidents"
  holds "$work/payload" '.predicate.role == "collector" and (.predicate | has("notBefore") | not)' \
    || undecided "the statement is one that only later versions know: by a witness, or with the head of a log"
  holds "$1" '.verificationMaterial.tlogEntries == []' || undecided "the attestation has log entries, which only later versions know"
}
rm -f "$work/statement"
faulty= reserved= wrong="no signature by the given key, $key_id"
for attestation in "${attestations[@]}"; do
  verify_attestation "$attestation" || continue
  said=$(check_statement "$(blob "$(json "$(blob "$attestation")" '.layers[0].digest')")" 2>&1) && status=0 || status=$?
  case $status in
    0) ;;
    3) reserved=${said#verify.sh: undecided: } && continue ;;
    *) faulty=${said#verify.sh: } && continue ;;
  esac
  # Whoever passes the bundle on could leave out one of two statements: neither can be believed.
  [[ ! -f $work/statement ]] || cmp -s "$work/payload" "$work/statement" || die "the key has signed two different statements about this bundle"
  mv "$work/payload" "$work/statement"
done
[[ -f $work/statement || -z $faulty ]] || die "$faulty"
[[ -f $work/statement || -n $reserved ]] || die "$wrong" # what is reserved decides nothing before all else has been checked

# 8. Every blob that these manifests name exists and has the stated size.
jq -r '.config, .layers[] | "\(.digest) \(.size)"' "$manifest" >> "$work/descriptors"
while read -r digest size; do
  file=$(blob "$digest")
  [[ $(stat -c %s "$file") == "$size" ]] || die "blob $digest does not have ${size@Q} bytes"
done < "$work/descriptors"

# 9. The config describes what was captured. The manifest's layers are exactly its items, their segment lists and the disclosure key.
# Whatever else it has, another version is another format, if it is UTF-8 and names its version once, as an integer.
config=$(blob "$(json "$manifest" .config.digest)")
holds "$config" 'type == "object" and all(paths(type == "object" or type == "array"); length < 16) and (.version | type == "number" and . >= 0 and . == floor and . < 9007199254740992)' \
  && [[ $(jq -c --stream 'select(length == 2 and .[0] == ["version"])' "$config" | wc -l) -eq 1 && $(head -c 3 "$config" | hex) != EFBBBF ]] \
  && ! LC_ALL=C.UTF-8 grep -qaxv '.*' "$config" \
  && tr '\n' ' ' < "$config" | grep -qE '"version"[[:space:]]*:[[:space:]]*[0-9]+[[:space:]]*[,}]' || die "the config has no version"
holds "$config" '.version == 1' || undecided "the config is of another version"
holds "$manifest" '.config.mediaType == "application/vnd.exhibit.config.v1+json"' || die "the manifest has no config of an Exhibit bundle"
canonical "$config" "the config"
holds "$config" "$forms"'
  all(.. | strings; utf8bytelength <= 4096)
  and all(paths(numbers) as $p | {value: getpath($p), name: ($p[-1] | tostring)}; .value == (.value | floor) and (.value | fabs) < 9007199254740992
    and (.value >= 0 or (.name | startswith("offsetMilliseconds"))))
  and keys == ["clock", "collector", "disclosureKey", "examined", "incident", "items", "plan", "supplements", "version", "window"]
  and (.incident | incident) and (.disclosureKey | digest) and (.window | window) and (.supplements | . == null or digest)
  and (.clock | length >= 1 and length <= 64 and all(.[]; keys == ["bootNanoseconds", "event", "utc"] and (.utc | time) and (.event | text) and (.bootNanoseconds | int)))
  and (.collector | keys == ["binary", "boot", "commit", "host", "identity", "kernel", "name", "version"] and (.binary | . == null or digest)
    and all(.host, .identity, .kernel, .name, .version; text) and all(.boot, .commit; text0))
  and (.examined | . == null or (keys == ["host", "machineId", "os", "root"] and (.root | text) and all(.host, .machineId, .os; text0)))
  and (.plan | keys == ["deadlineSeconds", "steps"] and (.deadlineSeconds | int0) and (.steps | type == "array" and length <= 1000)
    and all(.steps[]; keys == ["item", "itemBytesMax", "objectBytesMax", "what"] and (.item | name) and (.what | text) and all(.itemBytesMax, .objectBytesMax; int0)))
  and ([.plan.steps[].item] | length == (unique | length)) and (.items | type == "array" and length <= 1000)
  and all(.items[]; keys == ["bytes", "coverage", "layer", "leaves", "name", "records", "redactions", "root", "segments", "source"]
    and (.name | name) and all(.layer, .segments; digest) and (.root | type == "string" and test("\\A[0-9a-f]{64}\\z"))
    and all(.bytes, .records, .leaves; int) and .records <= .leaves and .leaves <= .bytes and .bytes <= 17592186044416
    and (.source | keys == ["account", "api", "clock", "identity", "otherResponses", "provider", "region", "servers"]
      and all(.api, .provider; text) and all(.account, .identity, .region; text0) and (.otherResponses | int)
      and (.servers | type == "array" and length <= 32 and ([.[] | [.origin, .issuer]] | . == unique)
        and all(.[]; keys == ["issuer", "origin", "responses"] and (.origin | text and test("\\Ahttps?://[!-.0-~]+\\z")) and (.responses | int) and .responses >= 1
          and (.issuer | text0 and . != "") and (.issuer == null or (.origin | startswith("https:")))))
      and (.clock | . == null or (keys == ["offsetMillisecondsMax", "offsetMillisecondsMin", "samples"] and all(.[]; int)
        and .samples >= 1 and .offsetMillisecondsMin <= .offsetMillisecondsMax)))
    and (.redactions | type == "array" and length <= 64 and ([.[].what] | length == (unique | length))
      and all(.[]; keys == ["count", "what"] and (.what | text) and (.count | int) and .count >= 1))
    and (.coverage | keys == ["asked", "attempts", "declared", "duplicates", "effective", "ended", "events", "first", "gaps", "last", "pages", "provisionalUntil"]
      and (.asked | window) and (.effective | window) and all(.first, .last, .provisionalUntil; . == null or time)
      and all(.attempts, .duplicates, .pages; int) and all(.declared, .events; int0)
      and (.ended | text and test("\\A(complete|deadline|limit|forbidden|not_found|gone|throttled|cancelled|failed)\\z"))
      and (.effective == null or (.asked != null and (.asked.from | at) <= (.effective.from | at) and (.effective.until | at) <= (.asked.until | at)))
      and (.first == null or .last == null or (.first | at) <= (.last | at))
      and (.events == null or (.duplicates <= .events and (.pages > 0 or .events == 0))) and (.attempts == 0 or .pages <= .attempts)
      and (.gaps | type == "array" and ([.[].reason] | length == (unique | length)))
      and all(.gaps[]; keys == ["bytesKept", "bytesLost", "count", "examples", "reason"] and all(.bytesKept, .bytesLost, .count; int) and .count >= 1
        and (.reason | text and test("\\A(permission_denied|vanished|too_large|shrank|hung|special_file|read_failed|deadline|over_budget|cancelled|unsupported|crashed|retention|rate_limited|unreachable|malformed|unauthenticated|refused|foreign_link|process_ended)\\z"))
        and (.examples | type == "array" and length <= 16 and all(.[]; text)) and (.examples | length) <= .count)))' || die "the config is malformed"
holds "$config" '[$m[0].layers[] | .annotations["org.opencontainers.image.title"] + " " + .mediaType]
  == ["disclosure-key application/vnd.exhibit.disclosure-key.v1"] + [.items[].name
    | . + ".segments.zst application/vnd.exhibit.segments.v1+zstd", . + ".warc.zst application/vnd.exhibit.item.v1+zstd"]' \
  --slurpfile m "$manifest" || die "the manifest does not follow from the config"
holds "$config" '[.items[].name] | length == (unique | length)' || die "two items have one name"
holds "$config" '([.disclosureKey, .items[].segments, .items[].layer] | unique) == ($m[0].layers | map(.digest) | unique)' --slurpfile m "$manifest" \
  || die "the manifest's layers are not what the config names"
disclosure_key=$(blob "$(json "$config" .disclosureKey)")
[[ $(stat -c %s "$disclosure_key") -eq 32 ]] || die "the disclosure key does not have 32 bytes"
disclosure_key=$(hex < "$disclosure_key")

# Prints the segments of a segment list, one on each line: the length, and 1 for a record or 0 for glue. A segment is encoded as the
# number 2 x length + (1 or 0) in unsigned LEB128: seven bits per byte, lowest first, with the eighth bit set on all but the last byte.
segments_of() {
  od -An -v -tu1 -w1 | awk '
    { value += ($1 % 128) * 128 ^ bytes++ }
    $1 == 0 && bytes > 1 { print "a number is longer than it needs to be"; exit 1 }
    $1 < 128 { printf "%.0f %d\n", int(value / 2), value % 2; value = bytes = 0 }
    END { if (bytes) print "the last number is cut off" }'
}
# The HMAC-SHA256 of standard input under a key in hex digits, as 64 hex digits.
hmac() { openssl dgst -r -sha256 -mac HMAC -macopt "hexkey:$1" | cut -c -64; }
# Prints the root of an item's record tree: record_tree NAME SEGMENTS, with the segments' bytes on standard input.
record_tree() {
  local i=0 length kind key salt level=() above
  key=$(printf 'evidence/v1/item\0%s' "$1" | hmac "$disclosure_key")
  # A leaf is the hash of 0x00, the kind, a salt and the segment. The salt comes from the item's key and the segment's number.
  while read -r length kind <&3; do
    salt=$({ printf 'evidence/v1/leaf\0'; unhex "$(printf %016x "$i")"; } | hmac "$key")
    level+=("$({ unhex "000$kind${salt:0:32}"; head -c "$length"; } | sha256)")
    i=$((i + 1))
  done 3< "$2"
  # A node is the hash of 0x01 and its two children. In a level with an odd number of nodes, the last one moves up unchanged.
  while [[ ${#level[@]} -gt 1 ]]; do
    above=()
    for ((i = 0; i + 1 < ${#level[@]}; i += 2)); do
      above+=("$({ printf '\1'; unhex "${level[i]}${level[i + 1]}"; } | sha256)")
    done
    level=("${above[@]}" "${level[@]:i}")
  done
  # The root of an empty tree is the hash of no bytes.
  printf %s "${level[0]-$(sha256 < /dev/null)}"
}

# Walks the WARC records on standard input, and prints the value of each Exhibit-Gap. Writes where each block begins and ends into the file
# BLOCKS: gaps_of BLOCKS. (Some awks do not see
# zero bytes, so it gets 01 for them.) Lines end in LF here, so a block of n bytes is as
# many lines as take n bytes; the last of them has, behind the block, the CR of the first of two empty lines.
gaps_of() {
  awk -v blocks="$1" '
    function bad(what) { print what > "/dev/stderr"; failed = 1; exit 1 }
    BEGIN { printf "" > blocks }
    { at += length($0) + 1 }
    state == "block" && length($0) + 1 <= left { left -= length($0) + 1; next }
    state == "block" { if (length($0) != left + 1 || substr($0, left + 1) != "\r") bad("a block does not end where it says"); state = "end"; next }
    state == "end" { if ($0 != "\r") bad("a record does not end in two empty lines"); state = ""; next }
    state == "" { if ($0 != "WARC/1.1\r") bad("not a WARC record"); state = "header"; head = 10; split("", fields); next }
    (head += length($0) + 1) > 65536 { bad("a header is too long") }
    $0 == "\r" {
      if (!("warc-type" in fields && "warc-record-id" in fields && "warc-date" in fields && "content-length" in fields)) bad("a field is missing")
      left = fields["content-length"]
      if (left !~ /^(0|[1-9][0-9]*)$/ || length(left) > 15) bad("the length of a block is malformed")
      left += 0 # a number, so that it is not compared as text
      printf "%.0f %.0f\n", at, at + left > blocks
      if ("exhibit-gap" in fields) print fields["exhibit-gap"]
      state = "block"; next }
    { colon = index($0, ": "); name = tolower(substr($0, 1, colon - 1)); value = substr($0, colon + 2, length($0) - colon - 2)
      if (!colon || name !~ /^[a-z0-9-]+$/ || name in fields || value ~ /^ | $|[\001-\037\177]/ || substr($0, length($0)) != "\r") bad("a header field is malformed")
      fields[name] = value }
    END { if (!failed && state != "") bad("the last record is cut off"); exit failed }'
}

# 10. Each item.
: > "$work/missing"
item_count=$(json "$config" '.items | length')
for ((n = 0; n < item_count; n++)); do
  name=$(json "$config" ".items[$n].name")
  bytes=$(json "$config" ".items[$n].bytes")
  [[ $item_count -lt 2 ]] || note "item $((n + 1)) of $item_count, ${name@Q}: $bytes bytes"
  records=$(json "$config" ".items[$n].records")
  item=$(blob "$(json "$config" ".items[$n].layer")")
  segments=$(blob "$(json "$config" ".items[$n].segments")")
  # It decompresses to the number of bytes in the config. Reading stops one byte later, which detects a larger item and stops bombs.
  found=$(zstd -dcq "$item" 2> /dev/null | head -c $((bytes + 1)) | wc -c) || die "item ${name@Q} is damaged, or larger than $bytes bytes"
  [[ $found -eq $bytes ]] || die "item ${name@Q} decompresses to $found bytes, not to $bytes"
  # It is a WARC file, and its coverage counts what its records say is missing.
  zstd -dcq "$item" | tr '\0' '\001' | gaps_of "$work/blocks" > "$work/gaps" 2> "$work/bad" || die "item ${name@Q} is not a WARC file: $(head -n 1 "$work/bad")"
  jq -Rac --slurpfile c "$config" --argjson n "$n" -n '[inputs] | group_by(.)[] | {reason: .[0], found: length} as $gap | $c[0].items[$n]
    | select(([.coverage.gaps[] | select(.reason == $gap.reason) | .count][0] // 0) < $gap.found)
    | {item: .name, gapRecords: $gap.found, reason: $gap.reason}' "$work/gaps" >> "$work/missing"
  # The segments add up to the item's bytes, and have the number of records in the config. None is empty. They are the tree's leaves.
  zstd -dcq "$segments" 2> /dev/null | head -c $((10 * bytes + 1)) | segments_of > "$work/segments" \
    || die "the segment list of ${name@Q} is damaged"
  awk -v records="$records" -v bytes="$bytes" '
    NF != 2 || $1 == 0 { bad = 1 }
    { sum += $1; found += $2 }
    END { exit bad || sum != bytes || found != records }' "$work/segments" \
    || die "the segment list of ${name@Q} does not give $records records and $bytes bytes"
  leaves=$(wc -l < "$work/segments")
  [[ $leaves == "$(json "$config" ".items[$n].leaves")" ]] || die "the segment list of ${name@Q} has $leaves segments"
  # Each record lies inside of the block of one WARC record.
  awk 'NR == FNR { begin[NR] = $1; end[NR] = $2; count = NR; next }
    FNR == 1 { block = 1 }
    { from = to; to += $1; while (block <= count && end[block] < to) block++
      if ($2 && (block > count || from < begin[block])) exit 1 }' "$work/blocks" "$work/segments" || die "a record of ${name@Q} is not inside of a block"
  # The record tree has the root in the config. The item's digest already covers the same bytes; the tree makes it possible to disclose
  # one record without the others.
  if [[ $leaves -le $leaves_max ]]; then
    root=$(zstd -dcq "$item" | record_tree "$name" "$work/segments")
    [[ $root == "$(json "$config" ".items[$n].root")" ]] || die "the record tree of ${name@Q} has another root"
  else
    note "record tree of ${name@Q} not checked here ($leaves leaves): the item's digest covers the same bytes"
  fi
done

[[ -f $work/statement ]] || undecided "$reserved"

# 11. All checks have passed. The output includes what the config says of its completeness. It is ASCII JSON, which is safe on a terminal.
printf 'ok: '
jq -ac --arg id "$id" '{bundle: $id} + (.predicate | {incident, role, signedAt, stream})' "$work/statement"
jq -ac '{items: (.items | length), records: ([.items[].records] | add // 0), bytes: ([.items[].bytes] | add // 0), supplements}' "$config"
jq -ac '.items[] | {item: .name} + (.coverage.gaps[]? | {gap: .reason, count, examples})' "$config"
jq -ac '.items[] | {item: .name} + (.source.servers[] | {answeredBy: .origin, issuer, responses})' "$config"
jq -ac '.items[] | {item: .name} + (.redactions[]? | {removed: .what, count})' "$config"
jq -ac '([.items[].name]) as $items | .plan.steps[].item | select([.] | inside($items) | not) | {planned: ., missing: true}' "$config" >> "$work/missing"
jq -ac '.items[] | {item: .name} + (.coverage
  | (select(.ended != "complete") | {ended}), (select(any(.gaps[]; .reason != "process_ended")) | {gaps: "see above"}),
    (select(.declared != null and .events != null and .declared > .events) | {declared, events}),
    (select(.asked != null and .asked != .effective) | {asked, effective}), (select(.provisionalUntil != null) | {provisionalUntil}))' \
  "$config" >> "$work/missing"
cat "$work/missing"
[[ ! -s $work/missing ]] || { verdict=4; exit 4; }
