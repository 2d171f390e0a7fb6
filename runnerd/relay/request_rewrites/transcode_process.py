"""Puts the WebP files of a folder into JPEG.  Run as a script, in a process of its own.

Transparent parts turn white, of an animation the first picture is taken.  `N.webp` becomes
`N.jpeg`; exit status 1 comes with a reason on standard error.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_PIXELS = 2**25  # of one image; 100 MB once it is decoded
_BOUNDS = (
    (resource.RLIMIT_AS, 2**30),
    (resource.RLIMIT_CPU, 30),
    (resource.RLIMIT_FSIZE, 2**27),
)
_QUALITY = 95


def transcode_process(source: Path) -> None:
    """Write one image anew.  Exits where it is too large, raises where it is none."""
    from PIL import Image

    with Image.open(source, formats=["WEBP"]) as image:
        if image.width * image.height > _PIXELS:
            sys.exit(f"it has more than {_PIXELS // 10**6} million pixels")
        shown = image.convert("RGBA")
    paper = Image.new("RGBA", shown.size, "white")
    whole = Image.alpha_composite(paper, shown).convert("RGB")
    whole.save(source.with_suffix(".jpeg"), quality=_QUALITY, subsampling=0)


def main() -> None:
    """Transcode the images that lie in the folder that the command line names."""
    for kind, most in _BOUNDS:
        resource.setrlimit(kind, (most, most))
    for source in Path(sys.argv[1]).glob("*.webp"):
        try:
            transcode_process(source)
        except (OSError, ValueError, SyntaxError, MemoryError):
            sys.exit("it is damaged, or no such image")


if __name__ == "__main__":
    main()
