"""Made-up auditory brainstem responses, for when there are no files.

What is drawn, after the clinical literature: Hall, "New Handbook of Auditory Evoked Responses", 2007; Hood, "Clinical
Applications of the Auditory Brainstem Response", 1998; Picton, "Human Auditory Evoked Potentials", 2011. Waves I, III
and V come later and weaker as the click gets softer, and end at the listener's threshold.

    NORMAL      threshold below 25 dB nHL
    ITIK        conductive: the click reaches the ear softer by the loss, so that the normal curve is shifted by it
    SNIK        sensorineural: the threshold is raised; recruitment brings the latency back to normal at high levels,
                and wave I is small (Coats & Martin, 1977)
    NEUROPATHY  the cochlear microphonic is there, the waves are absent, or late, broad and weak (Starr et al., 1996)
    TOTAL       noise alone

What cannot be told apart is so in the clinic, too: below threshold a record shows noise, whatever the class. The search
for the threshold therefore begins at a high level and ends where the waves vanish, so that few records are such.

The difficulty is the constants below. They were fixed before a network was trained on these data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from objectives.abr.records import CLASSES, SAMPLES, SAMPLING_RATE, Records

Array = NDArray[np.float64]

TIMES = np.arange(SAMPLES) / SAMPLING_RATE * 1000  # ms after the click
RECORDS_PER_PATIENT = 4
# Of patients, and so of records. The rest is NORMAL, about 79 %.
SHARES = {"NEUROPATHY": 0.01, "SNIK": 0.11, "TOTAL": 0.03, "ITIK": 0.06}
FEWEST = 4  # patients of a class, so that each split has one
SMALLEST = 100  # records

# Thresholds, dB nHL.
NORMAL_THRESHOLD = (12.0, 5.0, 0.0, 25.0)  # mean, deviation, least, largest
CONDUCTIVE_LOSS = (25.0, 50.0)  # of a middle ear: up to 50 to 60 dB
SENSORINEURAL_THRESHOLD = (35.0, 75.0)
NEUROPATHY_THRESHOLD = (30.0, 80.0)  # of hearing; the response does not tell it
TOTAL_THRESHOLD = 100.0  # no response at the loudest click

# Levels, dB nHL: from the first to one near the threshold in even steps, on a grid of 5.
FIRST_LEVELS = (80.0, 90.0)
LOUD_LEVELS = (90.0, 100.0)  # where the threshold is above 60 dB, or nothing was seen
LOWEST_LEVEL = 20.0
LAST_STEP = (-8.0, 12.0)  # where the search ends, beside the threshold
LAST_WITHOUT_RESPONSE = 70.0

# Latency of wave V in ms at level i: 5.35 + 4.82 exp(-i / 27.03), which is 5.6 at 80 dB, 7.65 at 20 dB.
LATENCY = (5.35, 4.82, 27.03)
WAVE_III_TO_V, WAVE_I_TO_III = 1.9, 2.1  # ms, at every level
LATENCY_SPREAD = 0.15  # ms, standard deviation between listeners
LATENCY_PER_RATE = 0.0055  # ms a click per second: +0.5 from 10 to 100 a second (Don, Allen & Starr, 1977)
LATENCY_PER_YEAR = 0.2 / 30  # ms: +0.2 from 25 to 55 years (Jerger & Hall, 1980)
AMPLITUDE_PER_YEAR = -0.1 / 30  # of itself: -10 % from 25 to 55 years (Jerger & Hall, 1980)
RECRUITED = 90.0  # dB nHL, where a sensorineural loss has its latency back to normal

# Waves: amplitude far above threshold in uV, dB above threshold where it begins, dB in which it grows to 1 - 1/e,
# width in ms (standard deviation of the bump).
WAVES = {"I": (0.35, 25.0, 30.0, 0.20), "III": (0.30, 15.0, 30.0, 0.24), "V": (0.60, 0.0, 40.0, 0.32)}
TROUGH = (0.6, 1.0, 0.45)  # after wave V: part of its amplitude, ms after it, width in ms
AMPLITUDE_SPREAD = 0.2  # of the logarithm, between listeners
SENSORINEURAL_WAVE_I = (0.1, 0.4)  # what is left of it

ABSENT_SHARE = 0.6  # of neuropathies; the others have distorted waves
DISTORTED_DELAY, DISTORTED_AMPLITUDE, DISTORTED_WIDTH = (0.8, 1.5), 0.3, 1.8  # ms, part, factor
# Cochlear microphonic: uV at 90 dB, kHz, ms of its beginning, ms in which it decays, dB of level for a tenth.
MICROPHONIC = {"amplitude": (0.15, 0.40), "frequency": (1.2, 2.4), "onset": (0.3, 0.8)}
MICROPHONIC_DECAY, MICROPHONIC_DECADE = 1.0, 40.0

# Noise of an averaged record, of 100 Hz to 3 kHz, in uV: the median signal-to-noise ratio of records with a wave V is
# 9 dB (power of the waves over power of the noise).
NOISE, NOISE_SPREAD = 0.031, 0.3
NOISE_BAND = (100.0, 3000.0)
MEASURED_SPREAD = 0.08  # of the logarithm of the residual noise as measured, about the true one

AGES = (3.0, 85.0)  # of every class: age alone tells nothing
RATES = (11.1, 21.1, 33.3)  # clicks a second


@dataclass(frozen=True)
class Patients:
    """Patients, or records: one entry each.

    Attributes:
        label: Index into CLASSES.
        threshold: dB.
        loss: The conductive loss, dB.
        delay: ms by which all waves are late.
        gain: Factor of all amplitudes.
        wave_i: What is left of wave I.
        absent: True where there are no waves.
        distorted: ms by which III and V are late in a neuropathy that has them, else 0.
    """

    label: NDArray[np.int64]
    threshold: Array
    loss: Array
    age: Array
    rate: Array
    delay: Array
    gain: Array
    wave_i: Array
    absent: NDArray[np.bool_]
    distorted: Array

    def of(self, index: NDArray[np.intp]) -> Patients:
        """Return those that an index chooses."""
        return Patients(**{name: values[index] for name, values in vars(self).items()})


def generate(records: int, seed: int) -> Records:
    """Make up records in uV, four of a patient (fewer of the last), with the noiseless ones as `clean`.

    The same arguments give the same bytes.

    Raises:
        ValueError: There are fewer than 100 records, or the seed is negative.
    """
    for name, value, least in (("records", records, SMALLEST), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} is {value!r}; expected a whole number of at least {least}")
    rng = np.random.default_rng(seed)
    count = -(-records // RECORDS_PER_PATIENT)
    patients = _patients(rng, count)
    levels = _levels(rng, patients).ravel()[:records]
    patient = np.repeat(np.arange(count), RECORDS_PER_PATIENT)[:records]
    each = patients.of(patient)
    clean, latency, amplitude = _responses(each, levels)
    clean += _microphonics(rng, patients, patient, levels)
    noise = NOISE * np.exp(NOISE_SPREAD * rng.standard_normal(records))
    measured = noise * np.exp(MEASURED_SPREAD * rng.standard_normal(records))
    waveforms = clean + noise[:, None] * _noise(rng, records)
    exists = (amplitude > 0) & (latency < TIMES[-1])  # later than that, nobody sees it
    statics = np.stack([each.age, levels, each.rate, measured], axis=1)
    return Records(
        waveforms=waveforms.astype(np.float32),
        clean=clean.astype(np.float32),
        statics=statics.astype(np.float32),
        patient=np.array([f"p{index:05d}" for index in patient]),
        label=each.label,
        exists=exists,
        latency=np.where(exists, latency, 0).astype(np.float32),
        amplitude=np.where(exists, amplitude, 0).astype(np.float32),
        threshold=each.threshold.astype(np.float32),
        split=None,
    )


def wave_v_latency(level: Array | float) -> Array:
    """Return the latency of wave V, ms, of a normal ear at `level` dB nHL."""
    floor, height, decay = LATENCY
    return floor + height * np.exp(-np.asarray(level) / decay)


def wave_amplitude(wave: str, sensation: Array | float) -> Array:
    """Return the amplitude, uV, of wave "I", "III" or "V".

    Args:
        wave: The wave.
        sensation: dB above threshold; the amplitude is 0 up to where the wave begins.
    """
    largest, begins, grows, _ = WAVES[wave]
    return largest * (1 - np.exp(-np.maximum(np.asarray(sensation) - begins, 0) / grows))


def _patients(rng: np.random.Generator, count: int) -> Patients:
    label = _labels(rng, count)
    sensorineural, conductive = (label == CLASSES.index(name) for name in ("SNIK", "ITIK"))
    neuropathy, total = (label == CLASSES.index(name) for name in ("NEUROPATHY", "TOTAL"))
    mean, deviation, least, largest = NORMAL_THRESHOLD
    normal = np.clip(mean + deviation * rng.standard_normal(count), least, largest)
    threshold = np.where(sensorineural, rng.uniform(*SENSORINEURAL_THRESHOLD, count), normal)
    loss = np.where(conductive, rng.uniform(*CONDUCTIVE_LOSS, count), 0)
    threshold = np.where(neuropathy, rng.uniform(*NEUROPATHY_THRESHOLD, count), threshold + loss)
    age, rate = rng.uniform(*AGES, count), rng.choice(RATES, count)
    distorted = np.where(neuropathy & (rng.random(count) >= ABSENT_SHARE), rng.uniform(*DISTORTED_DELAY, count), 0)
    late = LATENCY_SPREAD * rng.standard_normal(count) + LATENCY_PER_YEAR * (age - 25)
    late += LATENCY_PER_RATE * (rate - RATES[1])
    gain = np.exp(AMPLITUDE_SPREAD * rng.standard_normal(count)) * (1 + AMPLITUDE_PER_YEAR * (age - 25))
    return Patients(
        label=label,
        threshold=np.where(total, TOTAL_THRESHOLD, threshold),
        loss=loss,
        age=age,
        rate=rate,
        delay=late,
        gain=gain,
        wave_i=np.where(sensorineural, rng.uniform(*SENSORINEURAL_WAVE_I, count), 1),
        absent=total | (neuropathy & (distorted == 0)),
        distorted=distorted,
    )


def _labels(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    counts = {name: max(FEWEST, round(share * count)) for name, share in SHARES.items()}
    counts["NORMAL"] = count - sum(counts.values())
    return rng.permutation(np.repeat(np.arange(len(CLASSES)), [counts[name] for name in CLASSES]))


def _levels(rng: np.random.Generator, patients: Patients) -> Array:
    """Draw the levels of each patient's search for the threshold, (patients, RECORDS_PER_PATIENT) dB nHL, falling."""
    count = len(patients.label)
    silent = patients.absent | (patients.distorted > 0)  # or nearly so
    loud = silent | (patients.threshold > 60)
    first = np.where(loud, rng.choice(LOUD_LEVELS, count), rng.choice(FIRST_LEVELS, count))
    last = np.maximum(patients.threshold + rng.uniform(*LAST_STEP, count), LOWEST_LEVEL)
    last = np.where(silent, LAST_WITHOUT_RESPONSE, np.minimum(last, first - 15))
    steps = np.linspace(0, 1, RECORDS_PER_PATIENT)
    return np.round((first[:, None] + (last - first)[:, None] * steps) / 5) * 5


def _responses(each: Patients, levels: Array) -> tuple[Array, Array, Array]:
    """Return the waves, (n, SAMPLES) uV, and latency (ms) and amplitude (uV) of wave V, 0 where there is none."""
    sensation = levels - each.threshold
    sensorineural = each.label == CLASSES.index("SNIK")
    # What a normal ear would need for the same latency. Recruitment: at its threshold the ear is where a normal one is
    # at its own, and both meet at RECRUITED.
    normal = NORMAL_THRESHOLD[0]
    with_recruitment = normal + sensation * (RECRUITED - normal) / (RECRUITED - each.threshold)
    with_recruitment = np.where(levels < RECRUITED, with_recruitment, levels)
    outer = wave_v_latency(np.where(sensorineural, with_recruitment, levels - each.loss)) + each.delay
    latency = outer + each.distorted
    distorted = each.distorted > 0
    gain = np.where(each.absent, 0, each.gain)
    late = np.where(distorted, DISTORTED_AMPLITUDE, 1) * gain
    widths = {name: width * np.where(distorted, DISTORTED_WIDTH, 1) for name, (_, _, _, width) in WAVES.items()}
    amplitude = late * wave_amplitude("V", sensation)
    part, after, trough = TROUGH
    waves = _bump(amplitude, latency, widths["V"])
    waves -= _bump(part * amplitude, latency + after, widths["V"] * trough / WAVES["V"][3])
    waves += _bump(late * wave_amplitude("III", sensation), latency - WAVE_III_TO_V, widths["III"])
    # Wave I comes from the outer end of the nerve: where the others are distorted it is in time.
    first = gain * each.wave_i * wave_amplitude("I", sensation)
    waves += _bump(first, outer - WAVE_III_TO_V - WAVE_I_TO_III, np.full(len(first), WAVES["I"][3]))
    return waves, latency, amplitude


def _bump(height: Array, at: Array, width: Array) -> Array:
    """Return bells of a height at a time (ms), of a standard deviation (ms), a row each: (n, SAMPLES)."""
    return height[:, None] * np.exp(-0.5 * ((TIMES - at[:, None]) / width[:, None]) ** 2)


def _microphonics(rng: np.random.Generator, patients: Patients, patient: NDArray[np.intp], levels: Array) -> Array:
    """Return the cochlear microphonics of neuropathies, (n, SAMPLES) uV.

    They follow the click, not the nerve: their latency does not change with the level, and their sign is the click's.
    """
    count = len(patients.label)
    drawn = {name: rng.uniform(*span, count)[:, None] for name, span in MICROPHONIC.items()}
    sign = rng.choice([-1.0, 1.0], count)[:, None]
    since = np.maximum(TIMES - drawn["onset"], 0)
    shape = np.exp(-since / MICROPHONIC_DECAY) * np.sin(2 * np.pi * drawn["frequency"] * since)
    shape *= np.where((patients.label == CLASSES.index("NEUROPATHY"))[:, None], sign * drawn["amplitude"], 0)
    return shape[patient] * (10 ** ((levels - 90) / MICROPHONIC_DECADE))[:, None]


def _noise(rng: np.random.Generator, count: int) -> Array:
    """Draw noise of standard deviation 1, falling as 1 / sqrt(f) within NOISE_BAND: (count, SAMPLES)."""
    length = 2 * SAMPLES  # twice as long as what is kept, so that its end does not lead into its beginning
    frequencies = np.fft.rfftfreq(length, 1 / SAMPLING_RATE)
    inside = (frequencies >= NOISE_BAND[0]) & (frequencies <= NOISE_BAND[1])
    weights = np.where(inside, 1 / np.sqrt(np.maximum(frequencies, 1)), 0)
    spectrum = weights * (rng.standard_normal((count, len(weights))) + 1j * rng.standard_normal((count, len(weights))))
    deviation = np.sqrt(2 * 2 * (weights**2).sum()) / length  # of irfft: both halves, real and imaginary parts
    noise: Array = np.fft.irfft(spectrum, length)[:, :SAMPLES] / deviation
    return noise
