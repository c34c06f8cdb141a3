"""sft_assets: piles of instruction data in, one clean, explained, reproducible fine-tuning dataset out."""

__version__ = "0.1.0"


def _keep_kernels() -> None:
    """Where numba keeps compiled kernels: a folder for the sources of all of them together.

    numba looks at the file of a kernel only, not at those of the kernels that it calls: after an update it would run old ones.
    """
    import hashlib
    import os
    from pathlib import Path

    here = Path(__file__).parent
    given = os.environ.get("NUMBA_CACHE_DIR", "")  # somebody's own choice, or that of a parent with older sources
    if (given and not given.startswith(str(here))) or not os.access(here, os.W_OK):
        return
    sources = ((path, path.read_bytes()) for path in sorted(here.rglob("*.py")))
    kernels = [text for path, text in sources if b"njit" in text or path.parent.name == "text"]
    digest = hashlib.sha256(b"".join(kernels)).hexdigest()[:16]
    os.environ["NUMBA_CACHE_DIR"] = str(here / "__pycache__" / f"kernels-{digest}")


_keep_kernels()
