"""The commands as `runnerd --help` lists them: by what they are for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from runnerd.cli.command_parser import CommandParser

GROUPS: Mapping[str, str] = {
    "ask": "run session embed rerank launch",
    "models": "pull import ls show fit search tag cp rm create configure push pulls cancel prune"
    " export catalog df",
    "what is loaded": "ps top load unload stop bench",
    "the daemon": "serve status ui requests logs doctor install settings completion man version",
    "work that waits": "submit watch jobs batch queues worker",
    "sharing": "user key approvals approve reject whoami usage audit login logout logins backup"
    " restore",
}
"""Titles, and the names of commands below each."""

HIDDEN = frozenset({"complete"})  # for the shells' scripts


class TopParser(CommandParser):
    """The parser of everything; its help has the commands in groups."""

    def format_help(self) -> str:
        """Usage, options, and the commands in groups."""
        formatter = self._get_formatter()
        formatter.add_text(f"usage: {self.prog} [--host HOST] COMMAND ...")
        formatter.add_text(self.description)
        options = [each for each in self._actions if each.option_strings]
        self._section(formatter, "options", options)
        for title, names in GROUPS.items():
            commands = self._commands()
            listed = [commands[name] for name in names.split() if name in commands]
            self._section(formatter, title, listed)
        formatter.add_text(f"`{self.prog} COMMAND --help` says more of each.")
        return formatter.format_help()

    def _commands(self) -> dict[str, argparse.Action]:
        """What there is to say of each command, by name."""
        return {
            each.dest: each
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for each in action._choices_actions
        }

    @staticmethod
    def _section(
        formatter: argparse.HelpFormatter, title: str, actions: list[argparse.Action]
    ) -> None:
        formatter.start_section(title)
        formatter.add_arguments(actions)
        formatter.end_section()
