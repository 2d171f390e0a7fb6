"""Every setting, printed: `runnerd settings`, and as the example file and the page of the docs.

All of it is made of the settings themselves (`config`, the engine's in `backends/llamacpp`), so a
setting that is there is described, with the default that it has.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.cli.tables import print_json, print_table
from runnerd.config import RELOADABLE, Settings

_WIDTH = 100
_ENGINE = 'backends."llama.cpp"'


class Group(NamedTuple):
    """Settings that belong together: a title, what else is to be known, and their names."""

    title: str
    note: str
    names: tuple[str, ...]


GROUPS = (
    Group(
        "Where clients come in",
        "Under systemd, runnerd.socket decides socket and listen instead: `systemctl edit"
        " runnerd.socket`. Beyond loopback only with allow_remote, require_keys and TLS.",
        ("socket", "socket_mode", "socket_group", "listen", "allow_remote", "tls_certificate",
         "tls_key", "tls", "trusted_proxies"),
    ),
    Group(
        "Who needs no key", "See docs/security.md.", ("owner_group", "user_group", "require_keys")
    ),
    Group("Names and web pages", "", ("allowed_hosts", "allowed_origins", "local_origins", "page")),
    Group(
        "Where things are kept, and what is told",
        "Under systemd, another state_dir also needs ReadWritePaths= in a drop-in.",
        ("state_dir", "runtime_dir", "log_level", "log_format", "metrics", "traces",
         "capture_requests"),
    ),
    Group(
        "Models in memory",
        "Models are configured one by one by `runnerd configure`, not here.",
        ("default_backend", "idle_timeout", "load_timeout", "hang_timeout", "turn", "overcommit",
         "slot_quota", "slot_timeout", "max_runners", "memory_share", "memory_reserve",
         "queue_length", "queue_timeout", "drain_timeout"),
    ),
    Group(
        "Getting models",
        "Logins for registries come from Docker's file: ~/.docker/config.json, or"
        " DOCKER_CONFIG=/etc/runnerd/docker in runnerd.env. hub_token is better set as"
        " RUNNERD_HUB_TOKEN in a drop-in than here.",
        ("allowed_sources", "insecure_registries", "default_registry", "hub_endpoint", "hub_token",
         "shared_logins", "outbound_proxy", "pull_parts", "auto_pull", "store_quota",
         "model_dirs"),
    ),
)  # fmt: skip
_MORE = "More"

EXAMPLES: dict[str, object] = {
    "socket": "/run/runnerd/runnerd.sock",
    "socket_group": "runnerd",
    "owner_group": "runnerd",
    "user_group": "llm",
    "state_dir": "/var/lib/runnerd",
    "runtime_dir": "/run/runnerd",
    "tls_certificate": "/etc/runnerd/tls/fullchain.pem",
    "tls_key": "/etc/runnerd/tls/privkey.pem",
    "hub_endpoint": "https://huggingface.co",
    "hub_token": "",
    "pantry.bare_models": "/srv/bare-models",
    f"{_ENGINE}.path": "/usr/bin/llama-server",
    f"{_ENGINE}.parallel": 4,
    f"{_ENGINE}.threads": 8,
}
"""Values that are shown where the default is none, or depends on the host."""


class Setting(NamedTuple):
    """One setting.  `default` is None where there is none, or where the host decides."""

    name: str
    group: str
    default: object
    about: str
    reloadable: bool


def settings(options: argparse.Namespace) -> int:
    """Print them."""
    if options.toml:
        print(example(), end="")
    elif options.markdown:
        print(page(), end="")
    elif options.json:
        print_json([each._replace(default=_default(each))._asdict() for each in every_setting()])
    else:
        rows = [(each.name, _shown_default(each), each.about) for each in every_setting()]
        print_table(("SETTING", "DEFAULT", "WHAT IT IS"), rows)
    return 0


def _default(setting: Setting) -> object:
    """The default; what is an example in the settings file is none."""
    return None if setting.name in EXAMPLES else setting.default


def _shown_default(setting: Setting) -> str:
    default = _default(setting)
    return "" if default is None else _toml(default, setting.name)


def every_setting() -> Iterator[Setting]:
    """All settings, group by group, those in tables last."""
    fields = Settings.model_fields
    grouped = {name: group.title for group in GROUPS for name in group.names}
    tables = [name for name, field in fields.items() if _table(field) is not None]
    plain = [name for name in fields if name not in (*tables, "backends")]
    order = [*(name for name in grouped if name in plain), *(n for n in plain if n not in grouped)]
    for name in order:
        yield _setting(name, grouped.get(name, _MORE), fields[name], name in RELOADABLE)
    for table in sorted(tables):
        model = _table(fields[table])
        assert model is not None
        yield from _of_table(table, model, table in RELOADABLE)
    yield from _of_table(_ENGINE, LlamaCppSettings, False)


def _of_table(name: str, model: type[BaseModel], reloadable: bool) -> Iterator[Setting]:
    for field, info in model.model_fields.items():
        yield _setting(f"{name}.{field}", f"[{name}]", info, reloadable)


def _setting(name: str, group: str, field: FieldInfo, reloadable: bool) -> Setting:
    if name in EXAMPLES:
        default = EXAMPLES[name]
    else:
        default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, Path):
        default = str(default)
    return Setting(name, group, default, field.description or "", reloadable)


def _table(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a setting that is a table of its own."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


# the example file

_INTRODUCTION = """\
Settings of runnerd, made by `runnerd settings --toml`. Every line that is commented out shows the \
default, or an example where the host decides.
A flag of `runnerd serve` goes before RUNNERD_<SETTING>, and that before this file.
`systemctl reload runnerd` (SIGHUP) brings those marked with (*) into force; the log names what \
changed, and what needs a restart.
Times are seconds, sizes bytes."""


def example() -> str:
    """The settings file with every setting, all of them comments."""
    lines = [line for part in _INTRODUCTION.split("\n") for line in _comment(part)]
    notes = {group.title: group.note for group in GROUPS}
    group = ""
    for each in every_setting():
        if each.group != group:
            group = each.group
            lines += ["", *_heading(group, notes.get(group, ""))]
        mark = " (*)" if each.reloadable else ""
        lines += _comment(f"{_sentence(each.about)}{mark}")
        lines.append(f"#{each.name.rpartition('.')[2]} = {_toml(each.default, each.name)}")
    return "\n".join(lines) + "\n"


def _heading(group: str, note: str) -> list[str]:
    if group.startswith("["):
        return [f"#{group}"]
    return _comment(f"--- {group}. {note}".rstrip())


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _toml(value: Any, name: str = "") -> str:
    """A value as TOML writes it."""
    if name.endswith("socket_mode"):
        return f"0o{value:o}"
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return json.dumps(value, ensure_ascii=False)


# the page of the docs

_PAGE = """\
# Settings
Made by `runnerd settings --markdown`; `runnerd settings` prints the same, and `--toml` a file to
start from. A setting comes from a flag of `runnerd serve`, else from the environment variable
`RUNNERD_<SETTING>` (`RUNNERD_<TABLE>__<SETTING>` for one in a table), else from the TOML file that
`--config` or `RUNNERD_CONFIG` names, else it has its default. Times are seconds, sizes bytes.
Those with a * come into force at SIGHUP (`systemctl reload runnerd`), the others at a restart.
How one model is loaded and kept is its [configuration](configuration.md).
"""


def page() -> str:
    """docs/settings.md."""
    notes = {group.title: group.note for group in GROUPS}
    lines, group = [_PAGE.rstrip("\n")], ""
    for each in every_setting():
        if each.group != group:
            group = each.group
            title = f"`{group}`" if group.startswith("[") else group
            lines += ["", f"## {title}"]
            lines += [notes[group], ""] if notes.get(group) else []
            lines += ["| setting | default | what it is |", "|---|---|---|"]
        default = _toml(each.default, each.name)
        shown = f"`{default}`" if default and each.name not in EXAMPLES else ""
        star = "\\*" if each.reloadable else ""
        about = each.about.replace("|", "\\|")
        lines.append(f"| `{each.name.rpartition('.')[2]}`{star} | {shown} | {about} |")
    return "\n".join(lines) + "\n"
