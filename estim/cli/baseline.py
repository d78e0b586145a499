"""`estim baseline`: approve results that later ones are compared with."""

from __future__ import annotations

from argparse import Namespace

from estim.cli.console import say, say_json, say_table, say_wrapped
from estim.rig.measuring import baseline


def run_approve(arguments: Namespace) -> int:
    """Approve a result.

    Raises:
        UsageError: the file holds no result, or something may not be written down.
        LimitRefused: the result did not pass.
        RecordError: the baseline is damaged or cannot be written.
    """
    approval = baseline.approve(arguments.result, arguments.name, arguments.who, arguments.why)
    open_drifts = baseline.never_judged(approval)
    if arguments.json:
        _say(approval, never_judged=list(open_drifts))
        return 0
    say(f"approved as {approval.name} by {approval.who} on {approval.when}")
    say(f"sha256 {approval.sha256}")
    if open_drifts:
        say_wrapped(
            f"warning: {', '.join(open_drifts)}: too uncertain in this result for a drift to be "
            "judged: what is compared with it cannot pass; sample faster, capture more pulses, or "
            "with finer steps, and approve again",
            0,
        )
    return 0


def run_list(arguments: Namespace) -> int:
    """List the baselines, each with its last approval."""
    latest = [baseline.history(name)[-1] for name in baseline.names()]
    if arguments.json:
        for approval in latest:
            _say(approval)
    elif latest:
        say_table(
            ("name", "profile", "who", "when", "why"),
            [(a.name, str(a.result.get("profile")), a.who, a.when, a.why) for a in latest],
        )
    else:
        say("nothing was approved yet")
    return 0


def run_show(arguments: Namespace) -> int:
    """Show every approval under a name, and the figures of the last."""
    approvals = baseline.history(arguments.name)
    if arguments.json:
        for approval in approvals:
            _say(approval)
        return 0
    say_table(
        ("when", "who", "why", "sha256"), [(a.when, a.who, a.why, a.sha256[:16]) for a in approvals]
    )
    say()
    rows = [
        (str(check["name"]), str(check.get("unit", "")), f"{check['measured']:.6g}")
        for check in approvals[-1].result["checks"]
        if isinstance(check.get("measured"), int | float)
    ]
    say_table(("figure", "unit", "approved"), rows)
    return 0


def _say(approval: baseline.Approval, **more: list[str]) -> None:
    document = approval.document()
    document.pop("schema")
    say_json(baseline.APPROVAL_SCHEMA, **document, **more)
