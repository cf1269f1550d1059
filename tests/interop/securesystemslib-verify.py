"""Verifies a bundle's signature with securesystemslib, the library of TUF and in-toto.

    target/interop/venv/bin/python securesystemslib-verify.py BUNDLE_DIR PUB.pem

Exit code 0: the key has signed the DSSE envelope. Any other exit code is a failure.
"""

import base64
import hashlib
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

import layout

folder, key_file = sys.argv[1:]
public_key = load_pem_public_key(Path(key_file).read_bytes())
# The library only checks signatures with the key's keyid, which the caller defines. This is our definition.
spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
key_id = base64.b64encode(hashlib.sha256(spki).digest()).decode()
key = SSlibKey.from_crypto(public_key, key_id)
assert (key.keytype, key.scheme) == ("ed25519", "ed25519")

Envelope.from_dict(layout.envelope(folder)).verify([key], threshold=1)
print(f"securesystemslib: ok, {key_id}")
