"""How long a sound is, from what its file says, without decoding it.

An engine decodes a sound as a whole, at its own rate: a file of few bytes can be hours of silence,
and a second of one whose header says one sample a second is a whole file.  What a header says is
not believed where the frames can be counted.
"""

from __future__ import annotations

import struct

_UNKNOWN_RATE = 1000  # bytes per second of the slowest MP3: what any other format counts as


def seconds_of(sound: bytes) -> float:
    """How many seconds a file may be, at most; of a format that nobody knows by its bytes."""
    found = None
    sound = sound[_behind_tags(sound) :]
    try:
        if sound.startswith((b"RIFF", b"RIFX", b"RF64")):
            found = _wav(sound)
        elif sound.startswith(b"fLaC"):
            found = _flac(sound)
        else:
            found = _mp3(sound)
    except (struct.error, ZeroDivisionError, IndexError):
        pass  # the engine will say that it is cut
    return len(sound) / _UNKNOWN_RATE if found is None else found


_PLAIN = (1, 3, 6, 7, 0xFFFE)  # PCM, floats, A-law, mu-law, and those of them that say more
_ADPCM = (2, 0x11)  # Microsoft's, IMA's: two samples in a byte


def _wav(sound: bytes) -> float | None:
    """All that is there counts as samples: the size of the data is only what the file says.  Of
    several formats the longest counts.
    """
    if sound[:4] != b"RIFF":
        return None
    at, found = 12, list[float]()
    while len(sound) >= at + 8:
        name, size = struct.unpack_from("<4sI", sound, at)
        at += 8
        if name == b"fmt ":
            found.append(_wav_seconds(sound, at))
        elif name == b"data":
            break
        at += size + size % 2
    return max(found, default=None)


def _wav_seconds(sound: bytes, at: int) -> float:
    """The seconds of what follows the format at `at`."""
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", sound, at)
    size = len(sound) - at
    if kind in _ADPCM:
        return 2 * size / int(rate)
    if kind not in _PLAIN:
        return size / _UNKNOWN_RATE
    # Decoders go by the bits where these are whole bytes, whatever `block` says.
    sample = channels * bits // 8 if bits % 8 == 0 else block
    return size / min(int(block), int(sample)) / int(rate)


def _flac(sound: bytes) -> float | None:
    """The samples that the header tells of, or as many as frames can have that may be there."""
    largest, rate_and_more, low = struct.unpack_from(">xxH6xII", sound, 8)
    rate = rate_and_more >> 12
    samples = (rate_and_more & 0xF) << 32 | low
    frames = sound.count(b"\xff\xf8") + sound.count(b"\xff\xf9")
    seconds: float = max(samples, frames * largest) / rate
    return seconds


_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s, layer III
_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44100, 48000, 32000)
_LONGEST = 24 * 3600.0  # nobody counts further


def _mp3(sound: bytes) -> float | None:
    """The frames of layer III, one after the other; None where there is none at the beginning."""
    at, length, frames = 0, 0.0, 0
    while at + 4 <= len(sound) and length < _LONGEST:
        frame = _frame(sound[at], sound[at + 1], sound[at + 2])
        if frame is None:
            break
        size, duration = frame
        at += size
        length += duration
        frames += 1
    if not frames:
        return None
    return length + (len(sound) - at if at < len(sound) else 0) / _UNKNOWN_RATE


def _behind_tags(sound: bytes) -> int:
    """Where the sound begins: decoders pass over tags before any format, over several as well."""
    at = 0
    while sound.startswith(b"ID3", at) and len(sound) >= at + 10:
        flags, a, b, c, d = sound[at + 5 : at + 10]
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if flags & 0x10 else 0)
    return at


def _frame(first: int, second: int, third: int) -> tuple[int, float] | None:
    """Bytes and seconds of a frame of MPEG's layer III with this head; None for none."""
    bitrate, rate = third >> 4, third >> 2 & 3
    version = second >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    if first != 0xFF or second >> 5 != 7 or second >> 1 & 3 != 1 or version == 1:
        return None
    if bitrate in (0, 15) or rate == 3:
        return None
    hertz = _RATES[rate] / {3: 1, 2: 2, 0: 4}[version]
    kbits, samples = (_MPEG1, 1152) if version == 3 else (_MPEG2, 576)
    size = int(samples / 8 * kbits[bitrate - 1] * 1000 / hertz) + (third >> 1 & 1)
    return size, samples / hertz
