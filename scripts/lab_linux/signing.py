"""The lab's own keys, made once: for Secure Boot (PK, KEK, db, and mok for shim), for policies (pcr); signed images."""

from __future__ import annotations

import tempfile
from pathlib import Path

from scripts.lab.stubs import LAB
from scripts.lab.virtual import tool

# Who owns an entry of the signature databases; not a GUID of the specification.
OWNER = "5eed0e5b-0000-4000-8000-00000000b007"


def certificate(name: str) -> Path:
    """A key's certificate, PEM; the key lies beside it."""
    folder = LAB / "keys"
    path = folder / f"{name}.crt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subject = ["-subj", f"/CN=stubsim lab {name}/", "-days", "10950"]
        key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(path.with_suffix(".key"))]
        tool("openssl", "req", "-x509", *key, *subject, "-out", str(path))
    return path


def signed(image: bytes, key: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lab-sign-") as name:
        source, made = Path(name) / "image", Path(name) / "signed"
        source.write_bytes(image)
        path = certificate(key)
        tool("sbsign", "--key", str(path.with_suffix(".key")), "--cert", str(path), "--output", str(made), str(source))
        return made.read_bytes()
