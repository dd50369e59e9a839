"""Network compression that keeps a model's answers, not only its accuracy.

Data flows `data -> models -> train -> (prune | quantize) -> compress -> mismatch`; each
module can be used on its own. A whole study is two lines:

    study = fidelity.Study("mnist5k", "mlp", (fidelity.parse("0.8+int8"),))
    result = fidelity.run(study, "results/study")
    result.rows[0]["cie"]  # test examples whose label changed

References:
    Joseph et al. 2020, "Reliable Model Compression via Label-Preservation-Aware Loss
    Functions", arXiv:2012.01604.
"""

from fidelity import (
    artifact,
    association,
    compress,
    data,
    ensemble,
    experiment,
    fit,
    groups,
    learning_compression,
    longtail,
    longtail_plots,
    longtail_study,
    losses,
    memorize,
    mismatch,
    models,
    parallel,
    proxies,
    prune,
    quantize,
    recipe,
    report,
    scheme,
    search,
    slim,
    train,
    votes,
    weighting,
)
from fidelity.data import Dataset, Source, load
from fidelity.experiment import Result, Study, run
from fidelity.mismatch import Mismatch, compare
from fidelity.quantize import Grid
from fidelity.recipe import PRESERVATIONS, Preservation, Recipe, parse, preservation
from fidelity.train import Config, Trainer, make_trainer

__all__ = [
    "PRESERVATIONS",
    "Config",
    "Dataset",
    "Grid",
    "Mismatch",
    "Preservation",
    "Recipe",
    "Result",
    "Source",
    "Study",
    "Trainer",
    "artifact",
    "association",
    "compare",
    "compress",
    "data",
    "ensemble",
    "experiment",
    "fit",
    "groups",
    "learning_compression",
    "load",
    "longtail",
    "longtail_plots",
    "longtail_study",
    "losses",
    "make_trainer",
    "memorize",
    "mismatch",
    "models",
    "parallel",
    "parse",
    "preservation",
    "proxies",
    "prune",
    "quantize",
    "recipe",
    "report",
    "run",
    "scheme",
    "search",
    "slim",
    "train",
    "votes",
    "weighting",
]
