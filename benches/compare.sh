#!/usr/bin/env bash
# Compares Exhibit with zstd, borg and restic on the same input, in turn, in one run. Prints the tables of the README.
#
#   benches/compare.sh INPUT [RUNS]
#
# INPUT is a file. For the README's numbers it is 1 GB of CloudTrail, with one delivered file on each line:
#   python3 ../shared/corpora/amplify.py ../shared/corpora/internal-only/aws/cloudtrail/sans504-s3-ransomware.tar.zst \
#     -o /tmp/exhibit-bench --size 1G --format files-jsonl --seed 1
# It needs zstd, borgbackup, restic and openssl; see tests/interop/install.sh. Run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
input=$(realpath "$1")
runs=${2:-5}
cargo build --profile dist --locked --quiet
agent=$PWD/target/dist/exhibit-agent audit=$PWD/target/dist/exhibit-audit
work=$(mktemp -d "${TMPDIR:-/tmp}/exhibit-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

export BORG_REPO=$work/borg BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes RESTIC_REPOSITORY=$work/restic RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$work/cache
seal="$agent seal $input --incident BENCH --out sealed --key agent.key --json"

cat > seal.tsv << TSV
exhibit-agent seal	rm -rf sealed	$seal
zstd -3 -T2	rm -f out.zst	zstd -q -3 -T2 $input -o out.zst
zstd -1 -T2	rm -f out1.zst	zstd -q -1 -T2 $input -o out1.zst
borg create	rm -rf borg; borg init -e none	borg create -C zstd,3 ::a $input
restic backup	rm -rf restic cache; restic init -q	restic backup -q $input
TSV
python3 "$OLDPWD/benches/measure.py" "$runs" seal.tsv
bundle=$(ls sealed/*.tar)
printf '\nbytes: bundle %s, zstd -3 %s, zstd -1 %s, borg %s, restic %s\n\n' "$(stat -c %s "$bundle")" "$(stat -c %s out.zst)" "$(stat -c %s out1.zst)" \
  "$(du -sb borg | cut -f1)" "$(du -sb restic | cut -f1)"

# The bundle's one item is its largest blob. zstd -t reads it for the same content.
tar -xf "$bundle" && cp "$(ls -S blobs/sha256/* | head -1)" item.zst
cat > verify.tsv << TSV
exhibit-audit verify	true	$audit verify $bundle --key agent.pub.pem
zstd -t (zstd -3's file)	true	zstd -q -t out.zst
zstd -t (the bundle's item)	true	zstd -q -t item.zst
zstd -dc, openssl dgst	true	bash -c 'zstd -q -dc out.zst | openssl dgst -sha256'
restic check --read-data	true	restic check -q --read-data
TSV
python3 "$OLDPWD/benches/measure.py" "$runs" verify.tsv

# Memory must not grow with four times the input.
for i in 1 2 3 4; do cat "$input"; done > four
printf '%s\t%s\t%s\n' "exhibit-agent seal, 4 × the input" "rm -rf four.d" "$agent seal four --incident BENCH --out four.d --key agent.key --json" > four.tsv
printf '%s\t%s\t%s\n' "exhibit-audit verify, 4 × the input" "true" "bash -c '$audit verify four.d/*.tar --key agent.pub.pem'" >> four.tsv
printf '\n'
python3 "$OLDPWD/benches/measure.py" 1 four.tsv

printf '\n%s cores of %s; %s; borg %s; %s; %s\n' "$(nproc)" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(zstd --version | grep -o 'v[0-9.]*')" \
  "$(borg --version | cut -d' ' -f2)" "$(restic version | cut -d' ' -f1,2)" "$(openssl version | cut -d' ' -f1,2)"
