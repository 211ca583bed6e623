"""How many steps of computation a token gets; one file a way.

This list of the axis' parts, in the order of the catalogue, is all that the catalogue reads: a new part is a new line.
"""

# isort: skip_file
from formers.computation.computation import Computation as Computation
from formers.computation.computation import ComputationModule as ComputationModule
from formers.computation.stack import StackInput as StackInput
from formers.computation.stack import StackOutput as StackOutput
from formers.computation.state import StackState as StackState

from formers.computation.fixed import FixedDepth as FixedDepth
from formers.computation.universal import Universal as Universal
from formers.computation.act import Act as Act
from formers.computation.early_exit import EarlyExit as EarlyExit

from formers.computation.exit_rules import ExitRule as ExitRule
from formers.computation.exit_rules import Last as Last
from formers.computation.confidence_rules import Margin as Margin
from formers.computation.confidence_rules import Saturation as Saturation
from formers.computation.confidence_rules import Classifier as Classifier
from formers.computation.depth_predictors import SequenceDepth as SequenceDepth
from formers.computation.depth_predictors import MultinomialDepth as MultinomialDepth
from formers.computation.depth_predictors import GeometricDepth as GeometricDepth

from formers.computation.depth_oracles import DepthOracle as DepthOracle
from formers.computation.depth_oracles import Likelihood as Likelihood
from formers.computation.depth_oracles import Correctness as Correctness
