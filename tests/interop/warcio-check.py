"""Reads every item of a bundle with warcio, the WARC library of the web archives.

    target/interop/venv/bin/python warcio-check.py BUNDLE_DIR

Exit code 0: every item is a sequence of complete WARC/1.1 records, and all digests in records match. Any other exit code is a failure.
"""

import json
import subprocess
import sys

from warcio.archiveiterator import ArchiveIterator

import layout

folder = sys.argv[1]
manifest = json.loads(layout.read(folder, layout.named(folder, "bundle")))
config = json.loads(layout.read(folder, manifest["config"]["digest"]))

for item in config["items"]:
    records = digests = 0
    # The zstd program reads all frames of a file. warcio would use python-zstandard, which stops after the first.
    file = f"{folder}/blobs/sha256/{item['layer'].removeprefix('sha256:')}"
    with subprocess.Popen(["zstd", "-dcq", file], stdout=subprocess.PIPE) as zstd:
        for record in ArchiveIterator(zstd.stdout, check_digests="raise"):
            assert record.rec_headers.protocol == "WARC/1.1", record.rec_headers.protocol
            while record.raw_stream.read(1 << 20):
                pass
            assert record.raw_stream.limit == 0, f"{item['name']}: record {records} is cut off"
            records += 1
            digests += record.digest_checker.passed is True
    assert zstd.returncode == 0, f"{item['name']}: zstd failed"
    print(f"warcio: ok, {item['name']}: {records} WARC records, {digests} with a digest")
