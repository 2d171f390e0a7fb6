"""runnerd.relay.sound_length: seconds of files, honest and not."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.sound_length import seconds_of


def wav(seconds: float, rate: int = 16000) -> bytes:
    """A file of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * int(seconds * rate)))
    return file.getvalue()


def flac(samples: int, *, rate: int = 16000, frames: int = 0, largest: int = 4096) -> bytes:
    """A header, and the beginnings of so many frames."""
    rest = (rate << 12 | 15 << 4 | samples >> 32).to_bytes(4, "big")
    info = struct.pack(">HH6x", 16, largest) + rest + struct.pack(">I", samples & 0xFFFFFFFF)
    return b"fLaC\x80\0\0\x22" + info + bytes(16) + b"\xff\xf8\x19\x18" * frames


FRAME = b"\xff\xfb\x90\x64" + bytes(413)  # MPEG 1, 128 kbit/s, 44100 Hz


@pytest.mark.parametrize(
    ("sound", "seconds"),
    [
        (wav(3), 3),
        (wav(1, rate=8000), 1),
        (flac(48000), 3),
        (FRAME * 100, 2.61),
        (b"ID3\4\0\0\0\0\0\x05" + bytes(5) + FRAME * 100, 2.61),
        (bytes(5000), 5),
    ],
    ids=["wav", "wav 8000", "flac", "mp3", "mp3 with a tag", "unknown"],
)
def test_length_of_honest_files(sound: bytes, seconds: float) -> None:
    """Within what a header takes."""
    assert seconds_of(sound) == pytest.approx(seconds, abs=0.02)


def test_length_of_what_lies() -> None:
    """The samples are counted, not what the header says of them."""
    slow = bytearray(wav(1))
    slow[24:28] = struct.pack("<I", 1)  # samples per second
    slow[40:44] = struct.pack("<I", 2)  # bytes of data
    assert seconds_of(bytes(slow)) >= 16000
    assert seconds_of(flac(1, frames=10_000, largest=65535)) >= 40_000
    slowest = b"\xff\xf3\x18\x00" + bytes(68)  # MPEG 2, 8 kbit/s
    assert seconds_of(FRAME + slowest * 1000) >= 25


def test_length_of_what_lies_about_its_form() -> None:
    """Decoders go by the bits, by the last format of several, and pass over tags."""
    wide = bytearray(wav(1))
    wide[32:34] = struct.pack("<H", 65535)  # bytes of a sample of all channels
    assert seconds_of(bytes(wide)) >= 1
    packed = bytearray(wav(1))
    packed[20:22] = struct.pack("<H", 0x11)  # two samples in a byte
    packed[24:28] = struct.pack("<I", 1)
    assert seconds_of(bytes(packed)) >= 64_000
    slow = bytearray(wav(1))
    slow[24:28] = struct.pack("<I", 1)
    assert seconds_of(wav(1)[:36] + slow[12:]) >= 16_000
    tag = b"ID3\4\0\0\0\0\0\x05" + bytes(5)
    footed = b"ID3\4\0\x10\0\0\0\x05" + bytes(5) + b"3DI" + bytes(7)
    long = flac(1, frames=10_000, largest=65535)
    for tags in (tag, tag + tag, footed):
        assert seconds_of(tags + long) == seconds_of(long)


@given(st.binary(max_size=200), st.sampled_from([b"", b"RIFF", b"fLaC", b"ID3", b"\xff\xfb"]))
def test_length_of_anything_is_a_number(rest: bytes, start: bytes) -> None:
    """Whatever the bytes are."""
    assert seconds_of(start + rest) >= 0
