"""The check of words finds what it must not let through, and nothing else."""

import pytest

from tools.language import findings

# Written out, apart from the patterns that find them.
AVOIDED = [
    *("picture", "pictures", "data set", "data sets", "heat map", "map of features", "half open", "where not given"),
    *(
        "go on",
        "goes on",
        "going on",
        "squash",
        "squashed",
        "refuse",
        "refused",
        "refusal",
        "nest",
        "wing",
        "ground floor",
    ),
    *("released code", "published code", "deviation", "deviations", "colour", "coloured", "centre", "centred", "grey"),
    *("normalise", "normalisation", "localisation", "initialise", "labelled", "unlabelled", "behaviour", "neighbours"),
    *("licence", "honour", "honoured"),
]
FINE = [
    "an image",
    "dataset",
    "heatmap",
    "two standard deviations",
    "honored",
    "colored",
    "connection refused",
    "nested",
]


@pytest.mark.parametrize("word", AVOIDED)
def test_words_to_avoid_are_found_in_prose_and_in_names(word):
    assert [(number, found) for number, found, _ in findings(f"One line.\nThe {word} of it.")] == [(2, word)]
    assert findings(f"def test_the_{word.replace(' ', '_')}_of_it():")
    assert findings(f"{word.capitalize()} it is.")


@pytest.mark.parametrize("words", FINE)
def test_the_fields_words_are_let_through(words):
    assert findings(f"The {words} of it.") == []
