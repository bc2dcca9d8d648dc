"""Recorded trainings by which search policies are judged offline: what a file holds, and which are for what.

`record_tables.py` makes the files. What a table is for was declared before any search policy was tried on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.space.search_space import SearchSpace

FOLDER = Path(__file__).parent / "tables"

# What each table is for, as it was declared before any search policy was tried on it. README.md has the rule.
SETS: dict[str, tuple[str, ...]] = {
    "development": (
        "cart_pole_policy",
        "diabetes_boosting",
        "digits_cnn",
        "digits_mlp",
        "iris_prototypes",
        "rare_focal",
        "shapes_unet",
        "spirals_mlp",
        "text_svm",
        "waves_rnn",
        "wine_softmax",
    ),
    "validation": (
        "cancer_ranking",
        "maze_q_learning",
        "photo_autoencoder",
        "ratings_factorisation",
        "recall_attention",
    ),
    "second validation": (
        "chirps_convolution",
        "chirps_grid",
        "corridor_actor_critic",
        "corridor_grid",
        "digits_kernel",
        "digits_kernel_grid",
        "marked_sums",
        "marked_sums_grid",
        "photo_denoiser",
        "photo_denoiser_grid",
        "response_grid",
        "response_two_tasks",
        "rings_grid",
        "rings_losses",
        "wine_embedding",
        "wine_embedding_grid",
    ),
    "third validation": (
        "blocks_graph",
        "catch_deep_q",
        "clicks_factorisation",
        "clouds_deep_sets",
        "copies_memory",
        "digits_contrast",
        "digits_teacher",
        "digits_variational",
        "grammar_language",
        "hill_car_evolution",
        "lesions_tversky",
        "load_quantiles",
        "moons_flow",
        "oscillator_physics",
        "photo_dictionary",
        "ring_adversarial",
        "survival_cox",
        "tags_crf",
    ),
    "fourth validation": (
        "acrobot_tiles",
        "beats_arrhythmia",
        "bids_policy",
        "chaos_forecast",
        "digits_boltzmann",
        "digits_long_tail",
        "digits_masked",
        "documents_lda",
        "facts_links",
        "friedman_boosting",
        "grades_ordinal",
        "grid_dyna",
        "mixtures_online",
        "parity_state_space",
        "pendulum_evolution",
        "queries_listwise",
        "residues_transformer",
        "rings_diffusion",
        "sensors_sparse_process",
        "spirals_contrastive_noise",
        "strokes_ctc",
        "topics_multilabel",
        "vessels_unet",
        "words_skipgram",
    ),
}
NAMES = tuple(name for names in SETS.values() for name in names)


@dataclass(frozen=True)
class Table:
    """One recorded search space.

    space: as study.yaml writes it, parsed.
    configurations: the active parameters by the objective's names; `space.to_optuna` gives Optuna's.
    finite: every cell of the space was recorded, each with the same number of repeats.
    metric, direction: of `curves`; the direction is minimize or maximize.
    curves: (configurations, repeats, epochs), float32. NaN from the epoch at which a training diverged. Repeats differ
        only in their training seed, and there is one unless the space is finite.
    second_metric, second_direction, second: the same of a second metric, NaN where `curves` is. Empty texts and None
        if there is none.
    epoch_seconds: (configurations,). Counted work, not a measurement: the same on every machine.
    seeds: (configurations, repeats), the training seeds.
    """

    name: str
    space: SearchSpace
    configurations: tuple[dict[str, Any], ...]
    finite: bool
    metric: str
    direction: str
    curves: NDArray[np.float32]
    second_metric: str
    second_direction: str
    second: NDArray[np.float32] | None
    epoch_seconds: NDArray[np.float32]
    seeds: NDArray[np.int32]

    @property
    def epochs(self) -> int:
        return self.curves.shape[2]


def load(path: str | Path) -> Table:
    """Return the table of a file, or of one of NAMES."""
    path = Path(path)
    if path.suffix != ".npz":
        path = FOLDER / f"{path}.npz"
    with np.load(path) as file:
        texts = {key: str(file[key]) for key in file.files if file[key].dtype.kind == "U"}
        arrays = {key: file[key] for key in file.files if key not in texts}
    curves, second = (_with_repeats(arrays.get(key)) for key in ("curves", "second"))
    assert curves is not None
    return Table(
        name=path.stem,
        space=SearchSpace.parse(json.loads(texts["space"])),
        configurations=tuple(json.loads(texts["configurations"])),
        finite=arrays["curves"].ndim == 3,
        metric=texts["metric"],
        direction=texts["direction"],
        curves=curves,
        second_metric=texts["second_metric"],
        second_direction=texts["second_direction"],
        second=second,
        epoch_seconds=arrays["epoch_seconds"],
        seeds=arrays["seeds"],
    )


def _with_repeats(values: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """A file keeps (configurations, epochs) where there is one repeat."""
    return values[:, None] if values is not None and values.ndim == 2 else values
