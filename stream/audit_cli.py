"""`fanpulse audit`: the command line of audit.py."""

from typing import Annotated

import orjson
import typer

_COLUMNS = {
    "partition": "partition",
    "records": "records",
    "events": "events",
    "rejected": "rejected",
    "trimmed": "trimmed",
    "waiting": "waiting",
    "buckets": "buckets equal",
    "unchecked_buckets": "unchecked",
    "differences": "differences",
}


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
) -> None:
    """Read Kafka and Redis again from the beginning: has every offset exactly one effect?

    Exits 1, with the first differences, where it does not hold. Trimmed offsets were settled but are no
    longer kept as events, so their buckets cannot be recounted; waiting ones are not settled yet.
    """
    from rich.console import Console
    from rich.table import Table

    from stream.audit import audit as audit_all
    from stream.cli import load_settings, run

    result = run(audit_all(load_settings()))
    if as_json:
        typer.echo(orjson.dumps(result.as_dict(), option=orjson.OPT_INDENT_2))
    else:
        table = Table(*_COLUMNS.values(), box=None)
        for partition in result.partitions:
            table.add_row(*(f"{getattr(partition, name):,}" for name in _COLUMNS))
        console = Console()
        console.print(table)
        for partition in result.partitions:
            for difference in partition.named:
                console.print(f"partition {partition.partition}: {difference}", markup=False, highlight=False)
        console.print("the guarantee holds" if result.holds else "the guarantee does NOT hold")
    raise typer.Exit(0 if result.holds else 1)
