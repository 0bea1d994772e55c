"""From a card's recipe to weights: the recipe, the data that it sees, the loop, what a stop leaves, rounds of cards."""

from robustbench_ms.subjects.training.augmentation import augment
from robustbench_ms.subjects.training.checkpoints import Busy
from robustbench_ms.subjects.training.loop import Epoch, train
from robustbench_ms.subjects.training.recipe import Recipe, read_recipe
from robustbench_ms.subjects.training.rounds import Finished, Left, rounds, write_weights

__all__ = [
    "Busy",
    "Epoch",
    "Finished",
    "Left",
    "Recipe",
    "augment",
    "read_recipe",
    "rounds",
    "train",
    "write_weights",
]
