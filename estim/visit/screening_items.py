"""What is asked of a person before current may flow: every item, as data. `screening` judges.

Rules:
1. An item is a question that can be read out; yes is always the problem.
2. Every item has its gravity, its source (a key of SAFETY.md's list) and its certainty. What no
   source says, or says of something similar only, is [K], [K?] or [E].
3. Whatever an item brings about on yes stands here; nothing is hidden in code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from estim.visit.questions import Choice, Kind, Question
from estim.visit.regions import EVERYWHERE, LIMBS, REGIONS


class Gravity(StrEnum):
    """What yes means."""

    STOP = "STOP"
    LOCAL = "LOCAL"
    MD = "MD"
    CARE = "CARE"


class OnlyFor(StrEnum):
    """Whom an item is asked of, where not of everybody; the words say why it was not asked."""

    MOTOR = "asked only where muscles are made to contract"
    FIRST = "asked only at a first session"
    CHEMOTHERAPY = "asked only where chemotherapy is the cause"
    AUTONOMIC = "asked only where autonomic nerves are affected"
    WOMB = "asked only of those who have a womb"


class Clearer(StrEnum):
    """Who can clear an item."""

    PRESCRIBER = "prescriber"
    CARDIOLOGY = "cardiology"


class Lift(StrEnum):
    """How what an item brings about can be lifted (rules at the top of `screening`)."""

    NEVER = "never"
    CLINICIAN = "clinician"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Item:
    """One item.

    Attributes:
        id: stable; also the id of its question.
        title: as findings name it.
        words: as it is read out.
        gravity: what yes means.
        source: key of the source, or '' for what is common knowledge or our own proposal.
        certainty: S, K, K? or E.
        regions: what yes forbids in any case.
        where: regions to choose from when yes is followed by 'where?'; what is named is forbidden.
        only_for: whom it is asked of; None for everybody.
        motor: what yes means where muscles are made to contract, if that is graver.
        md_if: questions of which any yes asks for clearance besides.
        clearers: who must clear it, where that is asked for.
        lift: how it can be lifted.
        lift_if: questions that must all be answered yes before an override counts.
        eased_by: (question, choice) that makes a STOP a caution.
        follow_ups: asked after a yes.
        advice: what the therapist is told on yes.
        prompt: what the therapist is to do on yes, beyond this form, with its own certainty.
    """

    id: str
    title: str
    words: str
    gravity: Gravity
    source: str
    certainty: str
    regions: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    only_for: OnlyFor | None = None
    motor: Gravity | None = None
    md_if: tuple[str, ...] = ()
    clearers: tuple[Clearer, ...] = ()
    lift: Lift = Lift.NEVER
    lift_if: tuple[str, ...] = ()
    eased_by: tuple[str, str] | None = None
    follow_ups: tuple[Question, ...] = ()
    advice: str = ""
    prompt: str = ""

    @property
    def tag(self) -> str:
        """Return source and certainty as they are shown."""
        return f"[S:{self.source}]" if self.certainty == "S" else f"[{self.certainty}]"


def _yes_no(name: str, words: str, note: str = "") -> Question:
    return Question(name, words, Kind.YES_NO, note=note)


_ANYWHERE = tuple(REGIONS)
_LIMBS_FIRST = (*LIMBS, "abdomen", "pelvis", "chest", "neck", EVERYWHERE)
"""For what is not known to lie at one place of a limb: the whole limb [E]."""
_PRESCRIBER = (Clearer.PRESCRIBER,)
_LOW_SUGAR = (
    "low sugar: ask when the patient last ate, and have glucose checked before and after [K]"
)
_PREGNANCY = ("abdomen", "pelvis", "low-back")

ITEMS: tuple[Item, ...] = (
    # What stops.
    Item(
        "active-implant",
        "active implant",
        "Is there a pacemaker, a defibrillator, a nerve stimulator, an implanted pump or any other "
        "active implant?",
        Gravity.STOP, "as", "S",
        clearers=(Clearer.PRESCRIBER, Clearer.CARDIOLOGY), lift=Lift.CLEARED,
        advice="current can disturb the implant: prescriber and cardiology must both clear it",
    ),
    Item(
        "undiagnosed-pain",
        "pain not assessed",
        "Is there pain whose cause nobody has assessed?",
        Gravity.STOP, "intelect", "S",
        advice="current can hide what the pain warns of: have it assessed first, then answer again",
    ),
    Item(
        "cannot-report",
        "cannot report reliably",
        "Is the patient unable to say reliably what is felt, or to ask to stop?",
        Gravity.STOP, "neurorehab", "S",
        eased_by=("cannot-report-attended", "attended"),
        follow_ups=(
            Question(
                "cannot-report-attended", "Who stays with the patient?", Kind.CHOICE,
                (
                    Choice("attended", "a therapist, at the stop key, all the time"),
                    Choice("unattended", "nobody, or not all the time"),
                ),
            ),
        ),
        advice="never unattended: the therapist watches face, limb and skin, and holds the stop",
    ),
    Item(
        "shortwave",
        "shortwave or surgery equipment near",
        "Is shortwave or high-frequency surgery equipment in use within about 1 m, or about to be?",
        Gravity.STOP, "as", "S",
        advice="it induces current in the leads and burns: move away, then answer again",
    ),
    Item(
        "driving-bath-sleep",
        "driving, water or sleep",
        "Would the patient be driving, in or near water, or asleep during stimulation?",
        Gravity.STOP, "cfr5891", "S",
        advice="change that, then answer again",
    ),
    Item(
        "standing-first",
        "standing at the first session",
        "Would the patient stand during this first session?",
        Gravity.STOP, "compex", "S", only_for=OnlyFor.FIRST,
        advice="faintness: sit or lie for at least 5 min, and for the whole first session",
    ),
    Item(
        "posture-motor",
        "not seated or lying",
        "Would the patient be in any posture other than seated or lying?",
        Gravity.STOP, "", "E", only_for=OnlyFor.MOTOR,
        advice="a limb that bears weight gives way when the output stops: seated or lying only",
    ),
    # What forbids a place.
    Item(
        "neck-front",
        "front of the neck",
        "Is stimulation wanted at the front or side of the neck?",
        Gravity.LOCAL, "as", "S", regions=("neck",),
        advice="carotid sinus and larynx: faintness, spasm",
    ),
    Item(
        "head",
        "head, eyes or mouth",
        "Is stimulation wanted across the head, at the eyes or in the mouth?",
        Gravity.LOCAL, "as", "S", regions=("head",),
        advice="not on or across the head",
    ),
    Item(
        "chest",
        "through the chest",
        "Is stimulation wanted through the chest, or with pads on chest and upper back?",
        Gravity.LOCAL, "as", "S", regions=("chest", "upper-back"),
        advice="not across the heart",
    ),
    Item(
        "genitals",
        "genitals",
        "Is stimulation wanted at the genitals?",
        Gravity.LOCAL, "", "K", regions=("genitals",),
        advice="not on or near the genitals",
    ),
    Item(
        "pregnancy",
        "pregnancy",
        "Is there a pregnancy, or could there be one?",
        Gravity.LOCAL, "neurorehab", "S", regions=_PREGNANCY, only_for=OnlyFor.WOMB,
        md_if=("pregnancy",), clearers=_PRESCRIBER,
        follow_ups=(
            _yes_no(
                "pregnancy-first-trimester",
                "Is it in the first trimester (to week 12), or is the week not known?",
                "first trimester: prescriber clearance wherever the pads lie [S:neurorehab]",
            ),
        ),
        advice="not on abdomen, pelvis or low back; elsewhere only as the prescriber clears",
    ),
    Item(
        "malignancy",
        "cancer",
        "Is there a cancer now, or the suspicion of one?",
        Gravity.LOCAL, "eva", "S", where=_ANYWHERE,
        md_if=("malignancy-metastases",), clearers=_PRESCRIBER,
        lift=Lift.CLEARED, lift_if=("malignancy-palliative", "malignancy-consent"),
        follow_ups=(
            _yes_no("malignancy-metastases", "Has it spread, or is that not known?"),
            _yes_no(
                "malignancy-palliative",
                "Is the treatment palliative, and are pads wanted at that place?",
                "the only exception: with the prescriber's clearance, the patient's consent and a "
                "clinician's override [S:eva]",
            ),
        ),
        advice="not at or near the tumour",
    ),
    Item(
        "thrombosis",
        "thrombosis",
        "Is there a thrombosis or an inflamed vein, or the suspicion of one?",
        Gravity.LOCAL, "ds", "S", where=_LIMBS_FIRST, motor=Gravity.STOP,
        advice="current and movement can loosen a clot; no muscle contraction anywhere [K]",
    ),
    Item(
        "infection",
        "infection or inflammation",
        "Is there an infection or inflammation, of the skin or below it?",
        Gravity.LOCAL, "eva", "S", where=_ANYWHERE,
        advice="not at or near it",
    ),
    Item(
        "skin",
        "damaged skin",
        "Is there an open wound, or skin that is fragile, cracked or has been irradiated?",
        Gravity.LOCAL, "eva", "S", where=_ANYWHERE,
        advice="not at or near it: damaged skin concentrates current and burns",
    ),
    Item(
        "growing-bone",
        "growing bone",
        "Is the patient still growing, so that bone ends near the pads are not closed?",
        Gravity.LOCAL, "", "K", where=_ANYWHERE, only_for=OnlyFor.MOTOR,
        advice="no contraction over an active growth plate",
    ),
    Item(
        "worn-pump-sensor",
        "worn insulin pump or glucose sensor",
        "Does the patient wear an insulin pump or a glucose sensor on the skin?",
        Gravity.LOCAL, "", "K?", where=_ANYWHERE,
        advice="keep clear of it; how far is in no source that was read: ask its maker",
        prompt=_LOW_SUGAR,
    ),
    Item(
        "lymphoedema",
        "lymphoedema",
        "Is a limb swollen with lymphoedema, or at risk of it since lymph nodes were removed?",
        Gravity.LOCAL, "", "K?", where=_LIMBS_FIRST, only_for=OnlyFor.CHEMOTHERAPY,
        advice="not on that limb",
    ),
    # What a prescriber must clear.
    Item(
        "heart",
        "heart disease or arrhythmia",
        "Is there a heart disease or an irregular heartbeat?",
        Gravity.MD, "eva", "S", clearers=_PRESCRIBER, lift=Lift.CLINICIAN,
        advice="stop at palpitations, chest pain or faintness",
    ),
    Item(
        "arterial-leg",
        "arterial disease of a leg",
        "Is there a severe arterial disease of a leg?",
        Gravity.MD, "ds", "S", clearers=_PRESCRIBER, lift=Lift.CLINICIAN,
        advice="skin with too little blood burns sooner and heals badly",
    ),
    Item(
        "under-18",
        "younger than 18",
        "Is the patient younger than 18?",
        Gravity.MD, "", "K", clearers=_PRESCRIBER, lift=Lift.CLINICIAN,
        advice="consent of parent or guardian besides",
    ),
    Item(
        "platelets",
        "low platelets",
        "Are the platelets below 50 x 10^9/L at the last count, or is no recent count known?",
        Gravity.MD, "", "K?", only_for=OnlyFor.CHEMOTHERAPY, motor=Gravity.STOP,
        clearers=_PRESCRIBER, lift=Lift.CLEARED,
        advice="bleeding into skin and muscle: no contraction; the figure is to be checked",
    ),
    # What asks for care.
    Item(
        "epilepsy",
        "epilepsy",
        "Has the patient epilepsy?",
        Gravity.CARE, "intelect", "S", regions=("head", "neck"),
        advice="some lists forbid stimulation altogether [S:ds]; never near head or neck",
    ),
    Item(
        "bleeding",
        "bleeds easily",
        "Does the patient bleed easily, or take anticoagulants?",
        Gravity.CARE, "zynex", "S", motor=Gravity.STOP, clearers=_PRESCRIBER, lift=Lift.CLEARED,
        advice="no muscle contraction",
    ),
    Item(
        "surgery-fracture",
        "recent surgery or fracture",
        "Was there surgery or a fracture lately, that contraction could disturb?",
        Gravity.CARE, "zynex", "S", motor=Gravity.STOP, clearers=_PRESCRIBER, lift=Lift.CLEARED,
        advice="no muscle contraction unless the prescriber wants it",
    ),
    Item(
        "uterus",
        "womb, menstruation",
        "Are pads wanted over the womb, or is there menstruation now?",
        Gravity.CARE, "zynex", "S", only_for=OnlyFor.WOMB,
        advice="bleeding and cramps may change; stop if they do",
    ),
    Item(
        "numb-skin",
        "skin without normal feeling",
        "Is there skin that does not feel normally?",
        Gravity.CARE, "intelect", "S",
        advice="comfort is no guide there",
        prompt="the sensation test at each pad site decides, and forbids or lowers [E]",
    ),
    Item(
        "adhesive-allergy",
        "adhesive allergy",
        "Has the patient reacted to adhesive, gel or plasters?",
        Gravity.CARE, "neurorehab", "S",
        advice="use hypoallergenic pads and look at the skin early",
    ),
    Item(
        "metal",
        "metal under a pad",
        "Is there metal in the body under a place where a pad may lie?",
        Gravity.CARE, "", "K",
        advice="of little concern with balanced pulses; ask about warmth or pressure there",
    ),
    Item(
        "insulin",
        "insulin use",
        "Does the patient use insulin, or tablets that can bring the sugar too low?",
        Gravity.CARE, "", "K",
        advice="low sugar looks like faintness or confusion",
        prompt=_LOW_SUGAR,
    ),
    Item(
        "chemotherapy-cycle",
        "chemotherapy cycle",
        "Is a cycle of chemotherapy under way, or was the last less than 3 weeks ago?",
        Gravity.CARE, "", "E", only_for=OnlyFor.CHEMOTHERAPY,
        follow_ups=(
            Question(
                "chemotherapy-cycle-day", "How many days ago was the last dose?", Kind.WHOLE,
                minimum=0, maximum=60, unit="days",
            ),
        ),
        advice="low counts, infection, sickness and thin skin are likeliest then",
        prompt="ask for the last blood count, fever and today's symptoms; postpone if unwell [E]",
    ),
    Item(
        "faints",
        "faintness",
        "Has the patient fainted lately, or felt faint on standing up?",
        Gravity.CARE, "", "K", only_for=OnlyFor.AUTONOMIC,
        advice="begin lying, and sit up slowly afterwards",
        prompt="take blood pressure and heart rate, lying and standing, before the current [K]",
    ),
)  # fmt: skip
"""Every item in the order in which it is asked."""

CONSENT = _yes_no(
    "malignancy-consent",
    "Has the patient been told the risk, and consented to pads at that place?",
)
"""Asked after a palliative wish alone."""


@dataclass(frozen=True, slots=True)
class Precaution:
    """What a kind or cause of neuropathy asks for, with its certainty."""

    words: str
    certainty: str


BY_KIND: Mapping[str, tuple[Precaution, ...]] = {
    "autonomic": (
        Precaution("begin seated or lying, never standing; stand up slowly afterwards", "K"),
        Precaution("take the heart rate before, at 5 min and at the end", "K"),
        Precaution("ask about faintness and sweating at every check; stop if there is any", "K"),
    ),
    "peripheral": (
        Precaution("look at both feet first: dry and cracked skin concentrates current", "K"),
    ),
    "proximal": (
        Precaution("weak thighs: help with standing up, before and after", "K"),
    ),
    "focal": (
        Precaution("test sensation in that nerve's own area, against the other side", "K"),
    ),
}  # fmt: skip
BY_CAUSE: Mapping[str, tuple[Precaution, ...]] = {
    "diabetic": (
        Precaution("heat, irritation and burns go unfelt: comfort alone sets no dose", "K"),
    ),
    "chemotherapy": (
        Precaution("blood counts, lymphoedema and the day of the cycle change from visit to visit",
                   "K"),
    ),
    "idiopathic": (
        Precaution("no cause is known: report new weakness or fast worsening to the prescriber",
                   "K"),
    ),
    "trauma": (
        Precaution("scars and hypersensitive skin: no pad on them, slow rise", "K"),
    ),
    "infection": (
        Precaution("ask for fever and new skin lesions today", "K"),
    ),
    "toxic": (
        Precaution("judge today whether what the patient reports can be relied on", "K"),
    ),
    "autoimmune": (
        Precaution("steroids thin the skin: look closely, and again after", "K"),
        Precaution("heart rate and pressure may vary: ask about faintness", "K"),
    ),
}  # fmt: skip
FIRST_SESSION = Precaution("let the patient sit or lie for at least 5 min first [S:compex]", "S")
