"""Write the archive of the krew plugin, the same bytes each time, and print its SHA-256: ``archive.py [FILE]``."""

import hashlib
import io
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
FILES = {"kubectl-shardwise": (HERE / "kubectl-shardwise", 0o755), "LICENSE": (HERE.parents[1] / "LICENSE", 0o644)}


def archive() -> bytes:
    """Give the archive. Nothing is compressed: compressors differ from release to release."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as made:
        for name, (path, mode) in FILES.items():
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, mode << 16  # as on Unix, with its mode
            made.writestr(entry, path.read_bytes())
    return written.getvalue()


if __name__ == "__main__":
    content = archive()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_bytes(content)
    print(hashlib.sha256(content).hexdigest())  # noqa: T201 - a command
