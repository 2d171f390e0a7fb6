"""Puts the WebP files of a folder into JPEG.  Run as a script, in a process of its own.

Transparent parts turn white, of an animation the first picture is taken.  `N.webp` becomes
`N.jpeg`, as long as all of them have no more bytes than the command line says; exit status 1 comes
with a reason on standard error.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

MOST_PIXELS = 2**25
"""Of one image; 100 MB once it is decoded."""

TOO_MANY = f"it has more than {MOST_PIXELS // 10**6} million pixels"
_BOUNDS = (
    (resource.RLIMIT_AS, 2**30),
    (resource.RLIMIT_CPU, 30),
    (resource.RLIMIT_FSIZE, 2**27),
)
_QUALITY = 95


def transcode_process(source: Path) -> int:
    """Write one image anew, and how many bytes that took.  Exits where it is too large, raises
    where it is none.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # there is a limit of our own, with words of our own
    with Image.open(source, formats=["WEBP"]) as image:
        if image.width * image.height > MOST_PIXELS:
            sys.exit(TOO_MANY)
        if image.mode == "RGB":
            whole = image.convert("RGB")
        else:
            shown = image.convert("RGBA")
            whole = Image.new("RGB", shown.size, "white")
            whole.paste(shown, mask=shown)
    made = source.with_suffix(".jpeg")
    whole.save(made, quality=_QUALITY, subsampling=0)
    return made.stat().st_size


def main() -> None:
    """Transcode the images that lie in the folder that the command line names."""
    for kind, most in _BOUNDS:
        resource.setrlimit(kind, (most, most))
    left = int(sys.argv[2])
    for source in Path(sys.argv[1]).glob("*.webp"):
        if left < 0:
            sys.exit("as JPEG they are larger than a request may be")
        try:
            left -= transcode_process(source)
        except (OSError, ValueError, SyntaxError, MemoryError):
            sys.exit("it is damaged, or no such image")


if __name__ == "__main__":
    main()
