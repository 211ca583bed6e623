"""What layers remember beyond the tokens that they are given: kept from segment to segment; one file a memory.

A memory is built around a layer's mixer, and becomes a submodule of it: it decides what is kept, and lets the new
tokens see that beside each other. Its state goes the way of all streaming states, through `past_key_values`.

This list of the axis' parts, in the order of the catalogue, is all that the catalogue reads: a new part is a new line.
"""

# isort: skip_file
from formers.memory.memory import Memory as Memory

from formers.memory.none import NoMemory as NoMemory
from formers.memory.recurrent import Recurrent as Recurrent
from formers.memory.compressive import Compressive as Compressive
from formers.memory.memorizing import Memorizing as Memorizing
