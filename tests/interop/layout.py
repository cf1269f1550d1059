"""Reads a bundle's folder for the Python checks in this folder. It verifies nothing: that is the task of the third-party libraries."""

import json
from pathlib import Path


def read(folder: str, digest: str) -> bytes:
    """The blob of this digest."""
    return Path(folder, "blobs", "sha256", digest.removeprefix("sha256:")).read_bytes()


def named(folder: str, name: str) -> str:
    """The digest of the manifest that index.json lists under this name, `bundle` or `attestation`."""
    manifests = json.loads(Path(folder, "index.json").read_bytes())["manifests"]
    return next(m["digest"] for m in manifests if m["annotations"]["org.opencontainers.image.ref.name"] == name)


def envelope(folder: str) -> dict:
    """The DSSE envelope inside the attestation's sigstore bundle."""
    attestation = json.loads(read(folder, named(folder, "attestation")))
    return json.loads(read(folder, attestation["layers"][0]["digest"]))["dsseEnvelope"]
