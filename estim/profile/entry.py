"""What an entry of the library says that informs and cannot be run. Each attribute is a TOML key.

Rules:
1. An entry holds words, never parameters: nothing here can be compiled.
2. `cannot_run` says why; each statement has its certainty and source, as in a profile.
3. Whoever asks to run or to prepare one is refused with that reason.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from estim.profile.fields import Identifier, Version, Whole, Words
from estim.profile.models import SCHEMA, Basis, Evidence, Neuropathy
from estim.profile.table import Table

_TEXT = Words(1000)
_LINE = Words(200)


class EntryBasis(Table):
    """The basis of every group of statements."""

    stimulus: Basis
    dose: Basis
    placement: Basis


class Entry(Table):
    """A treatment that is known of and cannot be run here.

    `evidence-only`: other hardware or parameters that are not known. `negative`: studied without
    benefit. `excluded`: refused for its net charge.
    """

    schema_version: Annotated[int, Whole("", SCHEMA, SCHEMA), Field(alias="schema")]
    kind: Literal["evidence-only", "negative", "excluded"]
    id: Annotated[str, Identifier()]
    version: Annotated[str, Version()]
    title: Annotated[str, Words(80)]
    mode: Annotated[str, _LINE]
    indications: Annotated[
        tuple[Annotated[str, Identifier()], ...], Field(strict=False, max_length=20)
    ] = ()
    neuropathy: Neuropathy | None = None
    review_status: Annotated[str, _LINE]
    stimulus: Annotated[str, _TEXT]
    dose: Annotated[str, _TEXT]
    placement: Annotated[str, _TEXT]
    cannot_run: Annotated[str, _TEXT]
    basis: EntryBasis
    evidence: Annotated[tuple[Evidence, ...], Field(strict=False, max_length=40)] = ()
