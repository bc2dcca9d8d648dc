"""Made-up responses: what the literature says of them, and what a network must not get for nothing."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score

from objectives.abr import generator
from objectives.abr.generator import TIMES, generate, wave_amplitude, wave_v_latency
from objectives.abr.records import CLASSES, Records
from objectives.splits import assign

AGE, LEVEL, RATE, NOISE = range(4)


@pytest.fixture(scope="module")
def made() -> Records:
    return generate(6000, seed=0)


def of_class(records: Records, name: str) -> Records:
    return records.of(records.label == CLASSES.index(name))


def test_the_same_arguments_give_the_same_bytes() -> None:
    first, again, other = generate(120, 1), generate(120, 1), generate(120, 2)
    for field in fields(Records):
        values = [getattr(one, field.name) for one in (first, again)]
        assert values[0] is values[1] or values[0].tobytes() == values[1].tobytes(), field.name
    assert first.waveforms.tobytes() != other.waveforms.tobytes()


def test_six_thousand_records_in_less_than_three_seconds() -> None:
    began = time.process_time()
    generate(6000, 3)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("records", [100, 101, 5000, 6000])
def test_shares_of_classes_and_records_of_a_patient(records: int) -> None:
    made = generate(records, 0)
    assert made.waveforms.shape == made.clean.shape == (records, 200)  # type: ignore[union-attr]
    counts = np.unique(made.patient, return_counts=True)[1]
    assert counts.max() == 4
    assert (counts == 4).sum() >= len(counts) - 1
    patients = dict(zip(made.patient, made.label, strict=True))
    of_patient = np.bincount(list(patients.values()), minlength=5)
    assert of_patient.min() >= 4
    assert all(patients[patient] == label for patient, label in zip(made.patient, made.label, strict=True))
    if records >= 5000:
        shares = np.bincount(made.label) / records
        np.testing.assert_allclose(shares, [0.79, 0.01, 0.11, 0.03, 0.06], atol=0.004)


@pytest.mark.parametrize("records", [5000, 6000, 10000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_quarter_for_validation_has_ten_records_of_neuropathy(records: int, seed: int) -> None:
    made = generate(records, seed)
    splits = assign(records, 0.25, 0.0, seed, made.label, made.patient)
    assert (made.label[splits == "val"] == CLASSES.index("NEUROPATHY")).sum() >= 10


def test_the_latency_of_wave_v() -> None:
    assert wave_v_latency(80.0) == pytest.approx(5.6, abs=0.02)
    assert 7.5 <= wave_v_latency(20.0) <= 8.0
    assert (np.diff(wave_v_latency(np.arange(10.0, 100.0))) < 0).all()


def test_amplitudes_grow_from_nothing_at_threshold() -> None:
    assert wave_amplitude("V", np.array([-20.0, 0.0])).tolist() == [0, 0]
    # 0.6 (1 - e^-1) at 40 dB above threshold; wave I begins 25 dB above it.
    assert wave_amplitude("V", 40.0) == pytest.approx(0.6 * 0.632121)
    assert wave_amplitude("I", 25.0) == 0
    assert wave_amplitude("I", 55.0) == pytest.approx(0.35 * 0.632121)
    for wave in ("I", "III", "V"):
        assert (np.diff(wave_amplitude(wave, np.arange(30.0, 100.0))) > 0).all()


def test_normal_records_follow_that_curve(made: Records) -> None:
    normal = of_class(made, "NORMAL")
    normal = normal.of(normal.exists)
    expected = wave_v_latency(normal.statics[:, LEVEL].astype(float))
    expected += (normal.statics[:, RATE] - 21.1) * 0.0055 + (normal.statics[:, AGE] - 25) * 0.2 / 30
    rest = normal.latency - expected
    assert abs(rest.mean()) < 0.02
    assert rest.std() == pytest.approx(0.15, abs=0.02)


def test_the_waves_are_where_and_as_high_as_said(made: Records) -> None:
    """Found again in the noiseless waveform, with the intervals of 2.1 and 1.9 ms."""
    clean = made.clean
    assert clean is not None
    normal = np.flatnonzero((made.label == 0) & (made.statics[:, LEVEL] >= 80))
    for index in normal[:200]:
        wave, latency = clean[index], float(made.latency[index])
        for at, width in ((latency, 0.5), (latency - 1.9, 0.5), (latency - 4.0, 0.5)):
            near = np.flatnonzero(np.abs(TIMES - at) <= width)
            peak = near[wave[near].argmax()]
            assert abs(TIMES[peak] - at) < 0.2
        at_v = np.abs(TIMES - latency).argmin()
        assert wave[at_v] == pytest.approx(made.amplitude[index], rel=0.25)  # the trough begins under the wave


def test_a_wave_v_exists_above_threshold(made: Records) -> None:
    hearing = np.isin(made.label, [CLASSES.index(name) for name in ("NORMAL", "SNIK", "ITIK")])
    above = made.statics[:, LEVEL] > made.threshold
    np.testing.assert_array_equal(made.exists[hearing], above[hearing])
    assert not of_class(made, "TOTAL").exists.any()
    assert 0 < of_class(made, "NEUROPATHY").exists.mean() < 0.5
    assert (made.amplitude[made.exists] > 0).all()
    assert (made.latency[~made.exists] == 0).all()
    assert (made.amplitude[~made.exists] == 0).all()


def test_conductive_is_the_normal_curve_shifted_and_sensorineural_meets_it_at_high_levels(made: Records) -> None:
    def excess(name: str, low: float, high: float) -> float:
        some = of_class(made, name)
        some = some.of(some.exists & (some.statics[:, LEVEL] >= low) & (some.statics[:, LEVEL] <= high))
        return float((some.latency - wave_v_latency(some.statics[:, LEVEL].astype(float))).mean())

    assert excess("SNIK", 90, 100) - excess("NORMAL", 90, 100) < 0.1
    assert excess("SNIK", 50, 65) - excess("NORMAL", 50, 65) > 0.3
    assert excess("ITIK", 90, 100) - excess("NORMAL", 90, 100) > 0.25
    assert excess("ITIK", 50, 65) - excess("NORMAL", 50, 65) > 0.8
    # Shifted by the loss: what is left of the level is the sensation level of a normal ear with a threshold of 12 dB.
    conductive = of_class(made, "ITIK")
    conductive = conductive.of(conductive.exists)
    left = 12 + conductive.statics[:, LEVEL].astype(float) - conductive.threshold
    assert abs((conductive.latency - wave_v_latency(left)).mean() - excess("NORMAL", 20, 100)) < 0.3


def test_thresholds_of_the_classes(made: Records) -> None:
    assert of_class(made, "NORMAL").threshold.max() <= 25
    assert 35 <= of_class(made, "SNIK").threshold.min() < of_class(made, "SNIK").threshold.max() <= 75
    assert of_class(made, "ITIK").threshold.min() >= 25
    assert (of_class(made, "TOTAL").threshold == 100).all()


def test_a_neuropathy_oscillates_early_and_total_loss_is_noise(made: Records) -> None:
    clean = of_class(made, "NEUROPATHY").clean
    silent = of_class(made, "TOTAL").clean
    assert clean is not None
    assert silent is not None
    early = np.ptp(clean[:, TIMES < 3], axis=1)
    assert early.min() > 0.01
    assert not silent.any()


def test_noise(made: Records) -> None:
    assert made.clean is not None
    noise = made.waveforms - made.clean
    levels = noise.std(axis=1)
    ratio = 10 * np.log10(made.clean.var(axis=1) / noise.var(axis=1), where=made.exists, out=np.zeros(6000))
    assert np.median(ratio[made.exists]) == pytest.approx(9.0, abs=0.5)
    assert np.corrcoef(np.log(levels), np.log(made.statics[:, NOISE]))[0, 1] > 0.7  # of 200 samples, and measured
    power = (np.abs(np.fft.rfft(noise, axis=1)) ** 2).mean(axis=0)
    frequencies = np.fft.rfftfreq(200, 1 / 20_000)
    assert power[frequencies > 4000].mean() < 0.01 * power[(frequencies >= 300) & (frequencies <= 2500)].mean()


def test_levels_are_those_of_a_search_for_the_threshold(made: Records) -> None:
    levels = made.statics[:, LEVEL]
    assert levels.min() >= 20
    assert levels.max() <= 100
    assert (levels % 5 == 0).all()
    of_patient = levels.reshape(-1, 4)
    assert (np.diff(of_patient) <= 0).all()
    hearing = np.isin(made.label, [0, 2, 4])
    assert (levels[hearing] - made.threshold[hearing]).min() >= -11  # a step of 8 dB below, on a grid of 5


def test_age_rate_and_noise_say_nothing_of_the_class_and_the_level_not_enough(made: Records) -> None:
    """A forest on the statics alone: the class has to come from the waveform."""
    train = assign(6000, 0.25, 0.0, 0, made.label, made.patient) == "train"
    for columns, most in (([AGE, RATE, NOISE], 0.27), ([AGE, LEVEL, RATE, NOISE], 0.40)):
        forest = RandomForestClassifier(30, class_weight="balanced", min_samples_leaf=2, random_state=0)
        forest.fit(made.statics[train][:, columns], made.label[train])
        predicted = forest.predict(made.statics[~train][:, columns])
        assert f1_score(made.label[~train], predicted, average="macro") < most


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((99, 0), "records is 99; expected a whole number of at least 100"),
        ((200.0, 0), r"records is 200.0; expected a whole number of at least 100"),
        ((200, -1), "seed is -1; expected a whole number of at least 0"),
        ((True, 0), "records is True; expected a whole number"),
    ],
)
def test_arguments_out_of_range(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*arguments)


def test_the_shares_leave_most_to_normal() -> None:
    assert sum(generator.SHARES.values()) == pytest.approx(0.21)
