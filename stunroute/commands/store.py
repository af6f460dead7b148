"""``stunroute store``: the shared store's key."""

import secrets

import click

KEY_LENGTH = 32


@click.group()
def store() -> None:
    """Help with the store that relays share."""


@store.command()
def keygen() -> None:
    """Print a fresh key for the settings of every relay that shares the store.

    It authenticates what relays find there; who does not have it cannot steer their packets.
    """
    click.echo(f'key = "{secrets.token_hex(KEY_LENGTH)}"')
