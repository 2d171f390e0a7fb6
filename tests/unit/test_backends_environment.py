"""What an engine finds in its environment, and what it does not."""

from __future__ import annotations

import os

import pytest

from runnerd.backends.environment import child_environment


def test_only_what_is_named_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No option that llama.cpp would read past our flags, and no secret."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name in ("LLAMA_ARG_HOST", "HF_TOKEN", "RUNNERD_HUB_TOKEN", "LD_PRELOAD", "XLC_ALL"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = child_environment()
    assert "secret" not in found.values()
    assert found["HOME"] == "/home/ada"
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["CUDA_VISIBLE_DEVICES"] == "1"
    assert found["PATH"] == os.defpath  # programs are found without one of ours, too


def test_an_owners_order_of_gpus_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else theirs is the one that the daemon counts by; what a caller adds comes last."""
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    assert child_environment()["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert child_environment()["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    assert child_environment({"CUDA_DEVICE_ORDER": "x"})["CUDA_DEVICE_ORDER"] == "x"
    assert child_environment()["GGML_NO_BACKTRACE"] == "1"
