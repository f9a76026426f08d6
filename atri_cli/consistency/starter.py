"""A query file to start from: fifty sounds that most libraries have some of, in many languages."""

from __future__ import annotations

from collections.abc import Sequence

from atri_cli.errors import UsageError
from atri_cli.queryfile import QueryRow
from atri_cli.vocabulary.concepts import CORE, Concept, vocabulary_concepts
from atri_cli.vocabulary.translate import vocabulary_language

# Ids of the vocabulary: animals, people, vehicles, weather, rooms, tools, music, games and film.
STARTERS = (
    *("dog_bark", "cat_meow", "horse_neigh", "cow", "pig", "sheep", "rooster", "birdsong"),
    *("crow", "owl", "wolf_howl", "frog", "bee", "rain", "thunder", "wind", "ocean_waves"),
    *("water_drip", "fire_crackle", "footsteps", "door_slam", "door_creak", "door_bell"),
    *("clock_ticking", "telephone_ring", "church_bell", "siren", "car_horn", "applause", "laugh"),
    *("scream", "baby_cry", "snore", "car_engine", "train", "helicopter", "airplane"),
    *("explosion", "gunshot", "sword_clash", "glass_break", "chainsaw", "hammer", "piano"),
    *("guitar", "drum_roll", "violin", "trumpet", "whoosh", "coin_pickup"),
)


def starter_rows(languages: Sequence[str] = ()) -> tuple[list[QueryRow], list[str]]:
    """Rows of the starter file, and its languages.

    Args:
        languages: canonical tags; none is every language in which all the sounds have a name, the
            core languages first.

    Raises:
        UsageError: the vocabulary has no such language, or one language alone is asked for.
    """
    known = {concept.id: concept for concept in vocabulary_concepts()}
    chosen = [known[name] for name in STARTERS]
    spoken = _spoken(chosen)
    tags = list(dict.fromkeys(languages)) or spoken
    for tag in tags:
        if vocabulary_language(tag) not in spoken:
            raise UsageError(
                f"The vocabulary has no names in `{tag}`.", hint=f"It has {', '.join(spoken)}."
            )
    if len(tags) < 2:
        raise UsageError("Consistency needs two languages or more.", hint="`--languages en,fr`")
    rows = [
        QueryRow(concept.id, {tag: (concept.phrases[vocabulary_language(tag)][0],) for tag in tags})
        for concept in chosen
    ]
    return rows, tags


def _spoken(concepts: Sequence[Concept]) -> list[str]:
    """Languages in which all of them have a name, the core ones first, then by tag."""
    shared = set.intersection(*(set(concept.phrases) for concept in concepts))
    return [tag for tag in CORE if tag in shared] + sorted(shared - set(CORE))
