"""Reads a bundle's statement with in-toto's own Python library.

    target/interop/venv/bin/python in-toto-attestation-check.py BUNDLE_DIR

Exit code 0: it is a valid in-toto v1 statement of a capture, about the bundle's manifest. Any other exit code is a failure.
"""

import base64
import sys

from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

import layout

folder = sys.argv[1]
# The parser rejects every field that in-toto does not define. Only the predicate may have any fields.
parsed = json_format.Parse(base64.b64decode(layout.envelope(folder)["payload"]), statement_pb2.Statement())
Statement.copy_from_pb(parsed).validate()

assert parsed.predicate_type == "urn:exhibit:capture:v1", parsed.predicate_type
subjects = [f"sha256:{subject.digest['sha256']}" for subject in parsed.subject]
assert subjects == [layout.named(folder, "bundle")], subjects
print(f"in-toto-attestation: ok, {subjects[0]}")
