"""The command line: ``stunroute``.

A command's module is imported when the command is asked for: ``stunroute hint`` needs no metrics,
and a relay no picture of one. ``commands.common`` says what exit codes mean.
"""

import importlib
from collections.abc import Mapping

import click

from .commands.common import Commands

ELSEWHERE: Mapping[str, str] = {
    "flows": "look",
    "hint": "hint",
    "relay": "relay",
    "store": "store",
    "top": "look",
}
"""The module of ``stunroute.commands`` in which a command is, by its name."""


class _Lazy(Commands):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(ELSEWHERE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return None
        module = importlib.import_module(f"stunroute.commands.{ELSEWHERE[cmd_name]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stunroute", prog_name="stunroute", version="0.1.0")
def main() -> None:
    """A UDP relay that routes WebRTC by the ICE ufrag."""


if __name__ == "__main__":
    main()
